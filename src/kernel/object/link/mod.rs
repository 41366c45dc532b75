//! Links: how they are read, and how shims are made, changed and deleted.

mod message;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage, LinkProtocolDownReason, MacVlanMode,
};
use nix::errno::Errno;
use rtnetlink::{LinkMacVlan, LinkMessageBuilder, LinkUnspec};

pub(in crate::kernel) use self::message::{Seen, read};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{MalformedError, Message};
use crate::model::names::{LINK_GROUP, shim_alias};
use crate::model::snapshot::LinkKind;
use crate::model::{LinkIndex, Mac, NetnsId};

/// Maximum number of links of a guest that are looked at. Each takes a few microseconds.
pub(in crate::kernel) const LINKS: usize = 512;

/// The links of the host's namespace that can be read in a list.
pub(in crate::kernel) fn dump(requests: &mut Requests) -> Result<Vec<Seen>, RequestError> {
    list(requests, question(None, LinkIndex::NONE), None)
}

/// The links of a guest that can be read in a list. If a guest has more than any guest needs, only links that
/// may be children are asked for, and only the first of those are looked at.
pub(in crate::kernel) fn of_guest(
    requests: &mut Requests,
    netns: NetnsId,
) -> Result<Vec<Seen>, RequestError> {
    let of_kind = |kind: Option<InfoKind>| {
        let mut question = question(Some(netns), LinkIndex::NONE);
        question.attributes.extend(kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])));
        question
    };
    let all = list(requests, of_kind(None), Some(netns))?;
    if all.len() < LINKS {
        return Ok(all);
    }
    // If this kernel has not loaded the kind, it answers with all links.
    let mut some = list(requests, of_kind(Some(InfoKind::MacVlan)), Some(netns))?;
    let taps = list(requests, of_kind(Some(InfoKind::MacVtap)), Some(netns))?;
    some.extend(taps.into_iter().filter(|seen| matches!(seen.kind, LinkKind::Macvtap(_))));
    Ok(some)
}

fn list(
    requests: &mut Requests,
    question: LinkMessage,
    netns: Option<NetnsId>,
) -> Result<Vec<Seen>, RequestError> {
    let most = netns.map(|_| LINKS);
    let read = |list: &mut Vec<Seen>, message: &Message<'_>| {
        match read(message) {
            Ok(Some(seen)) if seen.target != netns => {
                return Err(MalformedError("links of another namespace than the one asked for"));
            }
            Ok(seen) => list.extend(seen),
            // Callers that need the whole list ask for this link separately.
            Err(_) => {}
        }
        Ok(())
    };
    match requests.dump_readable(RouteNetlinkMessage::GetLink(question), most, read) {
        // One link is too large for the kernel to list it.
        Err(error) if error.is_of_object() && error.errno().is_some() => Ok(Vec::new()),
        result => result,
    }
}

/// The link with that index in that namespace.
pub(in crate::kernel) fn with_index(
    requests: &mut Requests,
    netns: Option<NetnsId>,
    index: LinkIndex,
) -> Result<Seen, RequestError> {
    let question = RouteNetlinkMessage::GetLink(question(netns, index));
    requests.ask(question, |message| Ok(read(message)?.filter(|seen| seen.target == netns)))
}

/// The link with that name in the host's namespace.
pub(in crate::kernel) fn with_name(requests: &mut Requests, name: &str) -> Result<Seen, RequestError> {
    let message = LinkUnspec::new_with_name(name).build();
    requests.ask(RouteNetlinkMessage::GetLink(message), read)
}

fn question(netns: Option<NetnsId>, index: LinkIndex) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index.0;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message.attributes.extend(netns.map(|id| LinkAttribute::IfNetnsId(id.0)));
    message
}

/// Makes a shim. It is down, and has our mark from the start.
pub(in crate::kernel) fn create(
    requests: &mut Requests,
    name: &str,
    parent: LinkIndex,
    mac: Mac,
    mtu: u32,
) -> Result<(), RequestError> {
    let message = LinkMacVlan::new(name, parent.0, MacVlanMode::Bridge)
        .mtu(mtu)
        .address(mac.0.to_vec())
        .link_group(LINK_GROUP)
        .build();
    requests.order(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Renames a link. Before Linux 6.2 it has to be down for that (FACTS 57).
pub(in crate::kernel) fn rename(
    requests: &mut Requests,
    index: LinkIndex,
    name: &str,
) -> Result<(), RequestError> {
    let order = || LinkUnspec::new_with_index(index.0).name(name);
    match change(requests, order()) {
        Err(RequestError::Refused { errno: Errno::EBUSY, .. }) => {
            change(requests, LinkUnspec::new_with_index(index.0).down())?;
            change(requests, order())
        }
        result => result,
    }
}

/// Puts both marks on a link of ours.
pub(in crate::kernel) fn mark(
    requests: &mut Requests,
    index: LinkIndex,
    mac: Mac,
) -> Result<(), RequestError> {
    change(requests, LinkUnspec::new_with_index(index.0).link_group(LINK_GROUP).alias(shim_alias(mac)))
}

/// Changes a link's MAC.
pub(in crate::kernel) fn set_mac(
    requests: &mut Requests,
    index: LinkIndex,
    mac: Mac,
) -> Result<(), RequestError> {
    change(requests, LinkUnspec::new_with_index(index.0).address(mac.0.to_vec()))
}

/// Changes a link's MTU.
pub(in crate::kernel) fn set_mtu(
    requests: &mut Requests,
    index: LinkIndex,
    mtu: u32,
) -> Result<(), RequestError> {
    change(requests, LinkUnspec::new_with_index(index.0).mtu(mtu))
}

/// Sets a link up.
pub(in crate::kernel) fn set_up(requests: &mut Requests, index: LinkIndex) -> Result<(), RequestError> {
    change(requests, LinkUnspec::new_with_index(index.0).up())
}

/// Gives a link the flags of a shim. Protodown is cleared, together with the reasons for it (FACTS 64), but
/// only if it is on, because older kernels do not have it for macvlan.
pub(in crate::kernel) fn set_flags(
    requests: &mut Requests,
    index: LinkIndex,
    protodown: bool,
) -> Result<(), RequestError> {
    let mut order = LinkUnspec::new_with_index(index.0).multicast(false).arp(true);
    if protodown {
        let reasons = vec![LinkProtocolDownReason::Mask(u32::MAX), LinkProtocolDownReason::Value(0)];
        order = order.protodown(false).append_extra_attribute(LinkAttribute::ProtoDownReason(reasons));
    }
    change(requests, order)
}

fn change(requests: &mut Requests, message: LinkMessageBuilder<LinkUnspec>) -> Result<(), RequestError> {
    requests.order(RouteNetlinkMessage::SetLink(message.build()), 0)
}

/// Deletes a link.
pub(in crate::kernel) fn delete(requests: &mut Requests, index: LinkIndex) -> Result<(), RequestError> {
    let message = LinkUnspec::new_with_index(index.0).build();
    requests.order(RouteNetlinkMessage::DelLink(message), 0)
}
