//! Frames as root in a guest can make them: with anybody's addresses, as fast as it likes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::Guest;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The address of everybody.
pub const BROADCAST: Mac = [0xff; 6];

/// A link of a guest that sends frames unchanged.
#[derive(Debug)]
pub struct Forge {
    socket: OwnedFd,
    link: LinkAddr,
}

impl Guest {
    /// A link of the guest to forge frames on.
    ///
    /// # Errors
    /// If the guest does not run or has no such link.
    pub fn forge(&self, link: &str) -> Result<Forge> {
        self.within(|| Forge::open(link))
    }
}

impl Forge {
    /// A link of the thread's own network namespace to forge frames on.
    ///
    /// # Errors
    /// If there is no such link, or no right to use it.
    pub fn open(link: &str) -> Result<Forge> {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        let address = getifaddrs()?
            .filter(|interface| interface.interface_name == link)
            .find_map(|interface| interface.address?.as_link_addr().copied());
        Ok(Forge { socket, link: address.with_context(|| format!("no link {link}"))? })
    }

    /// The link's own MAC.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.link.addr().unwrap_or_default()
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the link is down.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        match sendto(self.socket.as_raw_fd(), frame, &self.link, MsgFlags::empty()) {
            // The frame is lost, as on any busy link.
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error).context("sending a forged frame"),
        }
    }

    /// Sends frames, the nth of which `frame(n)` makes, as fast as it can. Returns how many.
    ///
    /// # Errors
    /// As for [`Forge::send`].
    pub fn flood(&self, time: Duration, frame: impl Fn(u32) -> Vec<u8>) -> Result<u32> {
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < time {
            self.send(&frame(sent))?;
            sent += 1;
        }
        Ok(sent)
    }
}

/// A MAC as `ip` and LXD print it.
///
/// # Errors
/// If the text is no MAC.
pub fn mac(text: &str) -> Result<Mac> {
    let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes = bytes.collect::<Result<Vec<_>, _>>().with_context(|| format!("`{text}` is no MAC"))?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("`{text}` is no MAC"))
}

/// A frame of any protocol.
#[must_use]
pub fn ethernet(to: Mac, from: Mac, protocol: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &protocol.to_be_bytes(), payload].concat()
}

/// A frame in VLAN tags for no VLAN in particular (VID 0), the outermost first. Each tag is given by its
/// protocol number.
#[must_use]
pub fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 0]]).flatten();
    frame[..12].iter().copied().chain(tags).chain(frame[12..].iter().copied()).collect()
}

/// An IPv6 frame with extension headers of eight bytes, given by their numbers, the outermost first. They are
/// empty: options that pad, and a routing header with nothing left.
#[must_use]
pub fn behind(frame: &[u8], headers: &[u8]) -> Vec<u8> {
    const FRAGMENT: u8 = 44;
    let nexts = headers[1..].iter().chain(&frame[20..21]);
    let extensions = headers.iter().zip(nexts).flat_map(|(header, next)| match *header {
        FRAGMENT => [*next, 0, 0, 0, 0, 0, 0, 7],
        43 => [*next, 0, 0, 0, 0, 0, 0, 0],
        _ => [*next, 0, 1, 4, 0, 0, 0, 0],
    });
    let payload: Vec<u8> = extensions.chain(frame[54..].iter().copied()).collect();
    let mut head = frame[..54].to_vec();
    head[18..20].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    head[20] = headers[0];
    [head, payload].concat()
}

/// The two fragments of an IPv6 frame. The first has this many bytes of the payload, a multiple of eight.
#[must_use]
pub fn fragments(frame: &[u8], first: usize, identity: u32) -> [Vec<u8>; 2] {
    let fragment = |offset: usize, more: u16, part: &[u8]| {
        let place = (offset as u16 | more).to_be_bytes();
        let header = [&[frame[20], 0][..], &place, &identity.to_be_bytes()].concat();
        let mut head = frame[..54].to_vec();
        head[18..20].copy_from_slice(&((header.len() + part.len()) as u16).to_be_bytes());
        head[20] = 44;
        [head, header, part.to_vec()].concat()
    };
    let (start, end) = frame[54..].split_at(first);
    [fragment(0, 1, start), fragment(first, 0, end)]
}

/// The operation of an ARP frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arp {
    /// `who-has`
    Request,
    /// `is-at`
    Reply,
}

/// An ARP frame that says that `sender` is at `from`, and asks or answers `target`.
#[must_use]
pub fn arp(what: Arp, to: Mac, from: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let operation = if what == Arp::Request { 1 } else { 2 };
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let payload = [&head[..], &from, &sender.octets(), &to, &target.octets()].concat();
    ethernet(to, from, 0x0806, &payload)
}

/// A UDP datagram over IPv4.
#[must_use]
pub fn udp(to: Mac, from: Mac, source: Ipv4Addr, target: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let port = target.1.to_be_bytes();
    let datagram = [&[0x13, 0x88][..], &port, &length.to_be_bytes(), &[0, 0], data].concat();
    ipv4(to, from, 17, source, target.0, &datagram)
}

/// A UDP datagram over IPv6.
#[must_use]
pub fn udp6(to: Mac, from: Mac, source: Ipv6Addr, target: (Ipv6Addr, u16), data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    let port = target.1.to_be_bytes();
    let mut datagram = [&[0x13, 0x88][..], &port, &length.to_be_bytes(), &[0, 0], data].concat();
    let sum = ipv6_sum(17, source, target.0, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv6(to, from, 17, source, target.0, &datagram)
}

/// An ICMP redirect: use `by` for `target`. It quotes a datagram from `victim`.
#[must_use]
pub fn redirect(
    to: Mac,
    from: Mac,
    router: Ipv4Addr,
    victim: Ipv4Addr,
    target: Ipv4Addr,
    by: Ipv4Addr,
) -> Vec<u8> {
    let quoted = ipv4_packet(17, victim, target, &[0x13, 0x88, 0, 9, 0, 8, 0, 0]);
    let mut message = [&[5, 1, 0, 0][..], &by.octets(), &quoted].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(to, from, 1, router, victim, &message)
}

/// A neighbour solicitation for `target`, with `from` as the MAC of `source`.
#[must_use]
pub fn solicitation(to: Mac, from: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let body = [&[0; 4][..], &target.octets(), &[1, 1], &from].concat();
    icmpv6(to, from, source, target, 135, &body)
}

/// A solicitation of routers, with `from` as the MAC of `source`.
#[must_use]
pub fn router_solicitation(to: Mac, from: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    icmpv6(to, from, source, target, 133, &[&[0; 4][..], &[1, 1], &from].concat())
}

/// A neighbour advertisement that overrides existing entries: `target` is at `from`.
#[must_use]
pub fn advertisement(to: Mac, from: Mac, target: Ipv6Addr, victim: Ipv6Addr) -> Vec<u8> {
    let body = [&[0x60, 0, 0, 0][..], &target.octets(), &[2, 1], &from].concat();
    icmpv6(to, from, target, victim, 136, &body)
}

/// A router advertisement of `source`, with a prefix of 64 bits for hosts to form addresses in.
#[must_use]
pub fn router_advertisement(
    to: Mac,
    from: Mac,
    source: Ipv6Addr,
    victim: Ipv6Addr,
    prefix: Ipv6Addr,
) -> Vec<u8> {
    let life = [0, 0, 14, 16];
    let head = [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let option = [&[3, 4, 64, 0xc0][..], &life, &life, &[0; 4], &prefix.octets()].concat();
    icmpv6(to, from, source, victim, 134, &[&head[..], &option, &[1, 1], &from].concat())
}

/// An ICMPv6 redirect: use `by` for `target`.
#[must_use]
pub fn redirect6(
    to: Mac,
    from: Mac,
    router: Ipv6Addr,
    victim: Ipv6Addr,
    target: Ipv6Addr,
    by: Ipv6Addr,
) -> Vec<u8> {
    let body = [&[0; 4][..], &by.octets(), &target.octets(), &[2, 1], &from].concat();
    icmpv6(to, from, router, victim, 137, &body)
}

fn ipv4(to: Mac, from: Mac, protocol: u8, source: Ipv4Addr, target: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    ethernet(to, from, 0x0800, &ipv4_packet(protocol, source, target, payload))
}

fn ipv4_packet(protocol: u8, source: Ipv4Addr, target: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = ((20 + payload.len()) as u16).to_be_bytes();
    let mut head =
        [&[0x45, 0][..], &length, &[0, 0, 0, 0, 64, protocol, 0, 0], &source.octets(), &target.octets()]
            .concat();
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    [head, payload.to_vec()].concat()
}

fn icmpv6(to: Mac, from: Mac, source: Ipv6Addr, target: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], body].concat();
    let sum = ipv6_sum(58, source, target, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(to, from, 58, source, target, &message)
}

fn ipv6(to: Mac, from: Mac, protocol: u8, source: Ipv6Addr, target: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    // Neighbour discovery is only heard with the maximum hop limit.
    let head = [&[0x60, 0, 0, 0][..], &length, &[protocol, 255], &source.octets(), &target.octets()].concat();
    ethernet(to, from, 0x86dd, &[head, payload.to_vec()].concat())
}

fn ipv6_sum(protocol: u8, source: Ipv6Addr, target: Ipv6Addr, payload: &[u8]) -> u16 {
    let length = (payload.len() as u32).to_be_bytes();
    let pseudo = [&source.octets()[..], &target.octets(), &length, &[0, 0, 0, protocol], payload].concat();
    checksum(&pseudo)
}

/// The Internet checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
