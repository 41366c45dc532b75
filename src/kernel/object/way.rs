//! The kernel's choice of a route for one address: what `ip route get` asks.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage};
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_indextoname;

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{Attributes, MalformedError, Message, ip_of, text_of, u8_at, u32_of};
use crate::model::Family;
use crate::model::found_way::FoundWay;
use crate::model::names::TABLE_MAIN;

/// Length of `struct rtmsg`.
const HEADER: usize = 12;

/// The way of a packet of an unbound socket to an address. Needs no privileges.
pub(in crate::kernel) fn find(requests: &mut Requests, address: IpAddr) -> Result<FoundWay, RequestError> {
    let family = Family::of(address);
    let mut message = RouteMessage::default();
    message.header.address_family = family.into();
    message.header.destination_prefix_length = family.host_length();
    if family == Family::V4 {
        // Over IPv6 the kernel always tells the table, and refuses this flag.
        message.header.flags = RouteFlags::LookupTable;
    }
    let destination = match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    message.attributes.push(RouteAttribute::Destination(destination));
    match requests.ask(RouteNetlinkMessage::GetRoute(message), |message| read(message).map(Some)) {
        Err(RequestError::Refused { errno, .. }) if is_no_way(errno) => {
            Ok(FoundWay::None(errno.desc().to_owned()))
        }
        answer => answer,
    }
}

/// The errors of `unreachable`, `prohibit` and `blackhole` routes, and of no route at all.
fn is_no_way(errno: Errno) -> bool {
    matches!(errno, Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL)
}

fn read(message: &Message<'_>) -> Result<FoundWay, MalformedError> {
    let payload = message.payload;
    let kind = u8_at(payload, 7)?;
    let (mut link, mut gateway, mut source) = (0, None, None);
    let mut table = u32::from(u8_at(payload, 4)?);
    for attribute in Attributes::after(payload, HEADER) {
        match attribute? {
            (libc::RTA_OIF, value) => link = u32_of(value)?,
            (libc::RTA_GATEWAY, value) => gateway = Some(ip_of(value)?),
            (libc::RTA_PREFSRC, value) => source = Some(ip_of(value)?),
            (libc::RTA_TABLE, value) => table = u32_of(value)?,
            _ => {}
        }
    }
    // Over IPv6 such a route is an answer rather than an error.
    match kind {
        libc::RTN_UNREACHABLE => return Ok(FoundWay::None("an unreachable route covers it".to_owned())),
        libc::RTN_PROHIBIT => return Ok(FoundWay::None("a prohibit route covers it".to_owned())),
        libc::RTN_BLACKHOLE => return Ok(FoundWay::None("a blackhole route covers it".to_owned())),
        _ => {}
    }
    let link = match if_indextoname(link) {
        Ok(name) => text_of(name.as_bytes()),
        Err(_) => "a link that has just gone".into(),
    };
    let table = if table == 0 { TABLE_MAIN } else { table };
    Ok(FoundWay::Out { link, gateway, source, table })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_hosts_own_address_is_the_loopback_link() {
        let mut requests = Requests::open().unwrap();
        for own in ["127.0.0.1", "::1"] {
            let own: IpAddr = own.parse().unwrap();
            let way = find(&mut requests, own).unwrap();
            assert!(way.is("lo", own), "{way:?}");
        }
    }
}
