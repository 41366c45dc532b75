//! Makes the kernel ask the LAN who has an address, with the host's own address and MAC.
//!
//! A guest can fill the neighbour table, which all namespaces share. From `gc_thresh3` entries on, the kernel
//! makes no more. Entries with `NTF_EXT_LEARNED` are exempt, so a question whose entry has that flag cannot
//! be refused (FACTS 38). The kernel never collects such an entry: we delete it, or hand it back
//! ([`release`]).
//!
//! Over IPv6 a question is a packet to a multicast group, which needs an entry of its own. If the kernel
//! cannot make that entry, it sends nothing and reports nothing, and the silence would look as if nobody had
//! answered (FACTS 45). So the entry is made first.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourState as Nud};
use netlink_packet_route::route::RouteProtocol;

use super::neighbour::{marked, named};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::model::neighbours::solicited_node;
use crate::model::snapshot::{Neighbour, NeighbourState};
use crate::model::{LinkIndex, Mac};

/// Asks everybody on the link who has an address that the kernel does not know. The answer is in an entry
/// with our mark.
///
/// `disputed`: the entry loses the flag again at once. This records that another machine is known to have had
/// the address ([`NeighbourState::Disputed`]).
pub(in crate::kernel) fn ask(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    disputed: bool,
) -> Result<(), RequestError> {
    if let Some(group) = solicited_node(address) {
        make_group(requests, link, group)?;
    }
    let all = NeighbourFlags::Use | NeighbourFlags::ExtLearned;
    for flags in [Some(all), disputed.then_some(NeighbourFlags::Use)].into_iter().flatten() {
        let mut message = marked(named(link, address, false));
        message.header.flags = flags;
        requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)?;
    }
    Ok(())
}

/// The MAC of an IPv6 multicast group, which follows from the group (RFC 2464, 7).
fn mac_of(group: IpAddr) -> Mac {
    let [a, b, c, d] = match group {
        IpAddr::V4(group) => group.octets(),
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [a, b, c, d]
        }
    };
    Mac([0x33, 0x33, a, b, c, d])
}

/// The entry for a multicast group.
fn make_group(requests: &mut Requests, link: LinkIndex, group: IpAddr) -> Result<(), RequestError> {
    let mut message = marked(named(link, group, false));
    message.header.flags = NeighbourFlags::ExtLearned;
    message.header.state = Nud::Noarp;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac_of(group).0.to_vec()));
    requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// The entry for the multicast group that a question about an address makes. No event reports it.
pub(in crate::kernel) fn entry_of_group(address: IpAddr) -> Option<(IpAddr, Neighbour)> {
    let group = solicited_node(address)?;
    Some((group, Neighbour { mac: Some(mac_of(group)), state: NeighbourState::Permanent, ours: true }))
}

/// Hands the entry of a question back to the kernel, which keeps it while the host needs it. If the table is
/// full, deleting it would cut off the host from a machine that it talks to.
pub(in crate::kernel) fn release(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    mac: Mac,
) -> Result<(), RequestError> {
    let mut message = named(link, address, false);
    message.header.state = Nud::Stale;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    // A protocol can be changed, but not removed.
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Kernel));
    requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REPLACE)
}
