//! Neighbour entries of the host's links, and proxy entries: addresses for which a link answers neighbour
//! solicitations. The kernel has one kind of message for both. [`super::question`] makes it ask the LAN.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState as State,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{
    Attributes, MalformedError, Message, family_of, ip_of, link_at, u8_at, u16_at,
};
use crate::model::names::PROTOCOL;
use crate::model::neighbours::is_solicited_node;
use crate::model::snapshot::{Neighbour, NeighbourState};
use crate::model::{Family, LinkIndex, Mac, PerFamily};

/// An entry as a message shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::kernel) struct Seen {
    pub(in crate::kernel) link: LinkIndex,
    pub(in crate::kernel) address: IpAddr,
    pub(in crate::kernel) value: Neighbour,
    /// Whether it is a proxy entry.
    pub(in crate::kernel) proxy: bool,
}

/// Reads `RTM_NEWNEIGH` and `RTM_DELNEIGH`. `None` for those of bridges, and for addresses that no guest can
/// have: multicast, loopback, link-local. The groups that our questions go to are read.
pub(in crate::kernel) fn read(message: &Message<'_>) -> Result<Option<Seen>, MalformedError> {
    const HEADER: usize = 12;
    const NDA_PROTOCOL: u16 = 12;
    let payload = message.payload;
    if family_of(payload)?.is_none() {
        return Ok(None);
    }
    let (link, state, flags) = (link_at(payload, 4)?, u16_at(payload, 8)?, u8_at(payload, 10)?);
    let (mut address, mut mac, mut ours) = (None, None, false);
    for attribute in Attributes::after(payload, HEADER) {
        let (kind, value) = attribute?;
        match kind {
            libc::NDA_DST => address = Some(ip_of(value)?),
            libc::NDA_LLADDR => mac = Mac::from_bytes(value),
            NDA_PROTOCOL => ours = value.first() == Some(&PROTOCOL),
            _ => {}
        }
    }
    let is_kept = |address: &IpAddr| concerns(*address) || (ours && is_solicited_node(*address));
    let Some(address) = address.filter(is_kept) else { return Ok(None) };
    let state = match state_of(state) {
        // A question marks its entry in this way if it is about a known machine (`question`).
        NeighbourState::Unresolved if ours && flags & libc::NTF_EXT_LEARNED == 0 => NeighbourState::Disputed,
        state => state,
    };
    let mac = mac.filter(|_| state.is_resolved());
    let proxy = flags & libc::NTF_PROXY != 0;
    Ok(Some(Seen { link, address, value: Neighbour { mac, state, ours }, proxy }))
}

fn concerns(address: IpAddr) -> bool {
    let strange = address.is_multicast() || address.is_loopback() || address.is_unspecified();
    !strange && !super::address::is_link_local(address) && address != IpAddr::from([255; 4])
}

fn state_of(state: u16) -> NeighbourState {
    match state {
        libc::NUD_PERMANENT | libc::NUD_NOARP => NeighbourState::Permanent,
        libc::NUD_REACHABLE => NeighbourState::Reachable,
        libc::NUD_STALE => NeighbourState::Stale,
        libc::NUD_DELAY | libc::NUD_PROBE => NeighbourState::Asking,
        libc::NUD_FAILED => NeighbourState::Failed,
        _ => NeighbourState::Unresolved,
    }
}

/// The neighbour entries of the host.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kernel) struct Entries {
    /// Those that the snapshot has.
    pub(in crate::kernel) kept: BTreeMap<(IpAddr, LinkIndex), Neighbour>,
    /// Number of all entries that are exempt from the limit of their table.
    pub(in crate::kernel) exempt: PerFamily<u32>,
}

/// All neighbour entries of the host.
pub(in crate::kernel) fn dump(requests: &mut Requests) -> Result<Entries, RequestError> {
    let message = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    requests.dump(message, |list: &mut Entries, message| {
        if let Some(family) = family_of(message.payload)?
            && is_exempt(message)?
        {
            list.exempt[family] += 1;
        }
        let seen = read(message)?.filter(|seen| !seen.proxy);
        list.kept.extend(seen.map(|seen| ((seen.address, seen.link), seen.value)));
        Ok(())
    })
}

/// Whether an entry is exempt from the limit of its table: it is permanent, or its maker deletes it.
fn is_exempt(message: &Message<'_>) -> Result<bool, MalformedError> {
    let learned = u8_at(message.payload, 10)? & libc::NTF_EXT_LEARNED != 0;
    Ok(learned || u16_at(message.payload, 8)? & libc::NUD_PERMANENT != 0)
}

/// All proxy entries of the host for IPv6, each with whether it has our mark.
pub(in crate::kernel) fn dump_proxies(
    requests: &mut Requests,
) -> Result<BTreeMap<(LinkIndex, Ipv6Addr), bool>, RequestError> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.flags = NeighbourFlags::Proxy;
    requests.dump(RouteNetlinkMessage::GetNeighbour(message), |list: &mut BTreeMap<_, _>, message| {
        if let Some(Seen { link, address: IpAddr::V6(address), value, proxy: true }) = read(message)? {
            list.insert((link, address), value.ours);
        }
        Ok(())
    })
}

/// One entry, if there is one.
pub(in crate::kernel) fn find(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    proxy: bool,
) -> Result<Option<Neighbour>, RequestError> {
    let message = RouteNetlinkMessage::GetNeighbour(named(link, address, proxy));
    match requests.ask(message, read) {
        Ok(seen) => Ok(Some(seen.value)),
        Err(RequestError::Refused { errno: nix::errno::Errno::ENOENT, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a permanent entry with our mark. `replace`: even if there is another.
pub(in crate::kernel) fn set(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    mac: Mac,
    replace: bool,
) -> Result<(), RequestError> {
    let mut message = marked(named(link, address, false));
    message.header.state = State::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    let flags = NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL };
    requests.order(RouteNetlinkMessage::NewNeighbour(message), flags)
}

/// Makes a proxy entry with our mark.
pub(in crate::kernel) fn add_proxy(
    requests: &mut Requests,
    link: LinkIndex,
    address: Ipv6Addr,
) -> Result<(), RequestError> {
    let message = marked(named(link, address.into(), true));
    requests.order(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)
}

/// Deletes an entry.
pub(in crate::kernel) fn delete(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    proxy: bool,
) -> Result<(), RequestError> {
    requests.order(RouteNetlinkMessage::DelNeighbour(named(link, address, proxy)), 0)
}

pub(in crate::kernel) fn named(link: LinkIndex, address: IpAddr, proxy: bool) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = Family::of(address).into();
    message.header.ifindex = link.0;
    if proxy {
        message.header.flags = NeighbourFlags::Proxy;
    }
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}

pub(in crate::kernel) fn marked(mut message: NeighbourMessage) -> NeighbourMessage {
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL)));
    message
}
