//! How the kernel is made to ask the LAN who has an address, with the host's own address and MAC.
//!
//! A guest can fill the neighbour table, which all namespaces share: from `gc_thresh3` entries on the kernel makes no
//! further ones. What bears `NTF_EXT_LEARNED` is exempt, so a question that makes its entry with that flag cannot be
//! refused. The kernel never collects such an entry: whoever made it deletes it, or hands it back ([`release`]).
//!
//! Over IPv6 a question is a packet to a multicast group, which takes an entry of its own. Where the kernel cannot make
//! that, it sends nothing and says nothing: silence would look like nobody's answer. So it is made first.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState as State,
};
use netlink_packet_route::route::RouteProtocol;

use super::error::Fault;
use super::neighbour::{marked, named};
use super::request::Requests;
use crate::model::Mac;
use crate::model::neighbours::solicited_node;

/// Asks everybody on the link who has an address. The answer is in an entry with our mark. Where the kernel knows it
/// already (`is_known`) it is made to forget: it would ask that machine alone.
///
/// `disputed`: the entry loses the flag again at once, which tells that another machine is known to have had the address
/// ([`NeighbourState::Disputed`]).
///
/// [`NeighbourState::Disputed`]: crate::model::snapshot::NeighbourState::Disputed
pub(super) fn ask(
    requests: &mut Requests,
    link: u32,
    address: IpAddr,
    is_known: bool,
    disputed: bool,
) -> Result<(), Fault> {
    if let Some(group) = solicited_node(address) {
        make_group(requests, link, group)?;
    }
    if is_known {
        forget(requests, link, address)?;
    }
    let all = NeighbourFlags::Use | NeighbourFlags::ExtLearned;
    for flags in [Some(all), disputed.then_some(NeighbourFlags::Use)].into_iter().flatten() {
        let mut message = marked(named(link, address, false));
        message.header.flags = flags;
        requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)?;
    }
    Ok(())
}

/// It loses our mark too: nobody has failed to answer to us.
fn forget(requests: &mut Requests, link: u32, address: IpAddr) -> Result<(), Fault> {
    let mut message = unmarked(named(link, address, false));
    message.header.state = State::Failed;
    requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REPLACE)
}

/// The entry for a multicast group, whose MAC follows from it (RFC 2464, 7).
fn make_group(requests: &mut Requests, link: u32, group: IpAddr) -> Result<(), Fault> {
    let IpAddr::V6(address) = group else { return Ok(()) };
    let [.., a, b, c, d] = address.octets();
    let mut message = marked(named(link, group, false));
    message.header.flags = NeighbourFlags::ExtLearned;
    message.header.state = State::Noarp;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(vec![0x33, 0x33, a, b, c, d]));
    requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Hands the entry of a question back to the kernel, which keeps it while the host needs it. Deleting it would cut off
/// the host, where the table is full, from a machine that it talks to.
pub(super) fn release(requests: &mut Requests, link: u32, address: IpAddr, mac: Mac) -> Result<(), Fault> {
    let mut message = unmarked(named(link, address, false));
    message.header.state = State::Stale;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REPLACE)
}

/// A protocol can be changed, not taken away.
fn unmarked(mut message: NeighbourMessage) -> NeighbourMessage {
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Kernel));
    message
}
