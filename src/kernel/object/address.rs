//! Addresses of links, in the host's namespace and in those of guests.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;
use rtnetlink::AddressMessageBuilder;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{
    Attributes, MalformedError, Message, family_of, ip_of, link_at, net, netns_of, u8_at, u32_of,
};
use crate::model::names::PROTOCOL;
use crate::model::snapshot::{AddressKey, GuestAddress, HostAddress};
use crate::model::{LinkIndex, NetnsId};

/// An address as a message shows it, in whichever namespace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::kernel) struct Seen {
    pub(in crate::kernel) key: AddressKey,
    /// `IFA_F_…`.
    flags: u32,
    /// The peer, if the address has one.
    peer: Option<IpNet>,
    /// `IFA_PROTO`, which kernels before 5.18 do not know (FACTS 58).
    pub(in crate::kernel) protocol: Option<u8>,
    /// `IFLA_TARGET_NETNSID`: the namespace that the answer is about.
    pub(in crate::kernel) target: Option<NetnsId>,
}

impl Seen {
    /// Whether the snapshot has such addresses: those that can be reached from beyond the link.
    pub(in crate::kernel) fn is_kept(&self) -> bool {
        !is_link_local(self.key.address.addr())
    }

    /// Made by the kernel for the link itself (`IFAPROT_KERNEL_LL`).
    pub(in crate::kernel) fn is_made_by_kernel(&self) -> bool {
        const IFAPROT_KERNEL_LL: u8 = 3;
        self.protocol == Some(IFAPROT_KERNEL_LL)
    }

    /// In the form of an address of the host.
    pub(in crate::kernel) fn host(&self) -> HostAddress {
        HostAddress {
            usable: self.guest() == GuestAddress::Settled,
            deprecated: self.flags & libc::IFA_F_DEPRECATED != 0,
            secondary: self.flags & libc::IFA_F_SECONDARY != 0,
            ours: self.protocol == Some(PROTOCOL),
            peer: self.peer,
        }
    }

    /// In the form of an address of a guest.
    pub(in crate::kernel) fn guest(&self) -> GuestAddress {
        let has = |flag| self.flags & flag != 0;
        if has(libc::IFA_F_DADFAILED) {
            GuestAddress::Duplicate
        } else if has(libc::IFA_F_TENTATIVE) && !has(libc::IFA_F_OPTIMISTIC) {
            GuestAddress::Tentative
        } else {
            GuestAddress::Settled
        }
    }
}

/// Whether an address is valid only on its link (169.254.0.0/16, fe80::/10), and so never reached from
/// elsewhere.
pub(in crate::kernel) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Reads `RTM_NEWADDR` and `RTM_DELADDR`; `None` for families other than IPv4 and IPv6.
pub(in crate::kernel) fn read(message: &Message<'_>) -> Result<Option<Seen>, MalformedError> {
    const HEADER: usize = 8;
    const IFA_PROTO: u16 = 11;
    const IFA_TARGET_NETNSID: u16 = 10;
    let payload = message.payload;
    let bits = u8_at(payload, 1)?;
    let (mut flags, link) = (u32::from(u8_at(payload, 2)?), link_at(payload, 4)?);
    if family_of(payload)?.is_none() {
        return Ok(None);
    }
    let (mut local, mut address, mut protocol, mut target) = (None, None, None, None);
    for attribute in Attributes::after(payload, HEADER) {
        let (kind, value) = attribute?;
        match kind {
            // On point-to-point links IFA_ADDRESS is the peer.
            libc::IFA_LOCAL => local = Some(ip_of(value)?),
            libc::IFA_ADDRESS => address = Some(ip_of(value)?),
            libc::IFA_FLAGS => flags = u32_of(value)?,
            IFA_PROTO => protocol = value.first().copied(),
            IFA_TARGET_NETNSID => target = Some(netns_of(value)?),
            _ => {}
        }
    }
    let peer = address.filter(|address| local.is_some_and(|local| local != *address));
    let peer = peer.map(|peer| net(peer, bits)).transpose()?;
    let Some(address) = local.or(address) else { return Ok(None) };
    let key = AddressKey { link, address: net(address, bits)? };
    Ok(Some(Seen { key, flags, peer, protocol, target }))
}

/// All addresses of the host's namespace.
pub(in crate::kernel) fn dump(requests: &mut Requests) -> Result<Vec<Seen>, RequestError> {
    list_of_host(requests, LinkIndex::NONE)
}

/// The addresses of one link of the host.
pub(in crate::kernel) fn of_link(
    requests: &mut Requests,
    link: LinkIndex,
) -> Result<Vec<Seen>, RequestError> {
    list_of_host(requests, link)
}

fn list_of_host(requests: &mut Requests, link: LinkIndex) -> Result<Vec<Seen>, RequestError> {
    requests.dump(question(None, link, AddressFamily::Unspec), |list: &mut Vec<Seen>, message| {
        list.extend(answer(message, None, link)?);
        Ok(())
    })
}

/// The addresses of one link of a guest, of one family or of both, including those that are not kept. A guest
/// may make any number of them, so only the first `most` are read.
pub(in crate::kernel) fn of_child(
    requests: &mut Requests,
    netns: NetnsId,
    link: LinkIndex,
    family: AddressFamily,
    most: usize,
) -> Result<Vec<Seen>, RequestError> {
    if most == 0 {
        return Ok(Vec::new());
    }
    requests.dump_of_guest(question(Some(netns), link, family), most, |list: &mut Vec<Seen>, message| {
        list.extend(answer(message, Some(netns), link)?);
        Ok(())
    })
}

fn question(netns: Option<NetnsId>, link: LinkIndex, family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family;
    message.header.index = link.0;
    message.attributes.extend(netns.map(|id| AddressAttribute::TargetNetNsId(id.0)));
    RouteNetlinkMessage::GetAddress(message)
}

fn answer(
    message: &Message<'_>,
    netns: Option<NetnsId>,
    link: LinkIndex,
) -> Result<Option<Seen>, MalformedError> {
    let seen = read(message)?.filter(|seen| link == LinkIndex::NONE || seen.key.link == link);
    if seen.is_some_and(|seen| seen.target != netns) {
        return Err(MalformedError("addresses of another namespace than the one asked for"));
    }
    Ok(seen)
}

/// Gives a link an address with our mark. It makes no route, whatever the length of its prefix.
pub(in crate::kernel) fn add(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpNet,
) -> Result<(), RequestError> {
    let mut message = named(link, address);
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    let flags = match address.addr() {
        IpAddr::V4(_) => AddressFlags::Noprefixroute,
        IpAddr::V6(_) => AddressFlags::Noprefixroute | AddressFlags::Nodad,
    };
    message.attributes.push(AddressAttribute::Flags(flags));
    requests.order(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Takes an address from a link.
pub(in crate::kernel) fn delete(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpNet,
) -> Result<(), RequestError> {
    requests.order(RouteNetlinkMessage::DelAddress(named(link, address)), 0)
}

fn named(link: LinkIndex, address: IpNet) -> AddressMessage {
    let bits = address.prefix_len();
    let mut message = match address.addr() {
        IpAddr::V4(ip) => AddressMessageBuilder::<Ipv4Addr>::new().index(link.0).address(ip, bits).build(),
        IpAddr::V6(ip) => AddressMessageBuilder::<Ipv6Addr>::new().index(link.0).address(ip, bits).build(),
    };
    // A broadcast address would make a route, and the host's broadcasts to its own subnet could leave here.
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    message
}
