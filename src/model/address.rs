//! Kinds of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address that a single machine of the world, or of a site, may have.
pub fn is_global_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, ..] = ip.octets();
            first != 0 && first < 240 && !ip.is_loopback() && !ip.is_multicast() && !ip.is_link_local()
        }
        IpAddr::V6(ip) => {
            let low = ip.segments()[..6] == [0; 6]; // ::, ::1 and IPv4-compatible
            let mapped = ip.to_ipv4_mapped().is_some();
            !low && !mapped && !ip.is_multicast() && !ip.is_unicast_link_local()
        }
    }
}

/// A range that is meaningful on one link only: link-local or multicast.
pub fn is_link_local(range: &IpNet) -> bool {
    match range {
        IpNet::V4(range) => range.addr().is_link_local(),
        IpNet::V6(range) => range.addr().is_unicast_link_local() || range.addr().is_multicast(),
    }
}
