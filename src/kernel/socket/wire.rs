//! The layout of netlink messages and their attributes in a buffer. This is for reading only. Requests are
//! built with the types of `netlink-packet-route`.
//!
//! Messages are not read with those types, because a failure costs the whole dump. A reader that looks only
//! at the attributes that it needs cannot fail on an unknown kind of link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use nix::libc;
use smol_str::SmolStr;

use crate::model::{Family, LinkIndex, NetnsId, text};

/// Bytes that are not a netlink message. Something was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the kernel is cut off or malformed ({0})")]
pub(in crate::kernel) struct MalformedError(pub(in crate::kernel) &'static str);

/// One netlink message.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct Message<'a> {
    /// `RTM_NEWLINK`, `NLMSG_DONE`, …
    pub(in crate::kernel) kind: u16,
    /// `NLM_F_MULTI`, …
    pub(in crate::kernel) flags: u16,
    /// The number of the request that it answers.
    pub(in crate::kernel) sequence: u32,
    /// The bytes after the netlink header.
    pub(in crate::kernel) payload: &'a [u8],
}

/// Length of `struct nlmsghdr`.
pub(in crate::kernel) const HEADER: usize = 16;

/// The messages in one datagram.
pub(in crate::kernel) struct Messages<'a>(pub(in crate::kernel) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, MalformedError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = split_message(&mut self.0);
        if message.is_err() {
            self.0 = &[];
        }
        Some(message)
    }
}

fn split_message<'a>(rest: &mut &'a [u8]) -> Result<Message<'a>, MalformedError> {
    const CUT: MalformedError = MalformedError("message header");
    let length = u32_at(rest, 0)? as usize;
    let message = rest.get(..length).filter(|message| message.len() >= HEADER).ok_or(CUT)?;
    *rest = rest.get(aligned(length)..).unwrap_or_default();
    Ok(Message {
        kind: u16_at(message, 4)?,
        flags: u16_at(message, 6)?,
        sequence: u32_at(message, 8)?,
        payload: &message[HEADER..],
    })
}

/// The attributes of a message or of a nest of attributes: kind and value.
pub(in crate::kernel) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes after a message's own header of that length.
    pub(in crate::kernel) fn after(payload: &'a [u8], header: usize) -> Attributes<'a> {
        Attributes(payload.get(aligned(header)..).unwrap_or_default())
    }

    /// The attributes inside an attribute.
    pub(in crate::kernel) fn inside(value: &'a [u8]) -> Attributes<'a> {
        Attributes(value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), MalformedError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let attribute = split_attribute(&mut self.0);
        if attribute.is_err() {
            self.0 = &[];
        }
        Some(attribute)
    }
}

fn split_attribute<'a>(rest: &mut &'a [u8]) -> Result<(u16, &'a [u8]), MalformedError> {
    /// `NLA_TYPE_MASK`: the two upper bits say "nested" and "network byte order".
    const KIND: u16 = 0x3fff;
    let length = usize::from(u16_at(rest, 0)?);
    let kind = u16_at(rest, 2)? & KIND;
    let value = rest.get(4..length).ok_or(MalformedError("attribute"))?;
    *rest = rest.get(aligned(length)..).unwrap_or_default();
    Ok((kind, value))
}

/// Netlink aligns to four bytes.
pub(in crate::kernel) fn aligned(length: usize) -> usize {
    length.div_ceil(4) * 4
}

/// One byte of a message's header.
pub(in crate::kernel) fn u8_at(bytes: &[u8], at: usize) -> Result<u8, MalformedError> {
    bytes.get(at).copied().ok_or(MalformedError("header"))
}

/// The family in a message's header, which is its first byte. `None` for families other than IPv4 and IPv6.
pub(in crate::kernel) fn family_of(header: &[u8]) -> Result<Option<Family>, MalformedError> {
    Ok(match i32::from(u8_at(header, 0)?) {
        libc::AF_INET => Some(Family::V4),
        libc::AF_INET6 => Some(Family::V6),
        _ => None,
    })
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> AddressFamily {
        match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }
}

/// A link in a message's header.
pub(in crate::kernel) fn link_at(header: &[u8], at: usize) -> Result<LinkIndex, MalformedError> {
    u32_at(header, at).map(LinkIndex)
}

/// A link as an attribute's value.
pub(in crate::kernel) fn link_of(value: &[u8]) -> Result<LinkIndex, MalformedError> {
    u32_of(value).map(LinkIndex)
}

/// A namespace as an attribute's value.
pub(in crate::kernel) fn netns_of(value: &[u8]) -> Result<NetnsId, MalformedError> {
    i32_of(value).map(NetnsId)
}

/// Two bytes of a message's header.
pub(in crate::kernel) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, MalformedError> {
    array(bytes.get(at..)).map(u16::from_ne_bytes)
}

/// Four bytes of a message's header.
pub(in crate::kernel) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, MalformedError> {
    array(bytes.get(at..)).map(u32::from_ne_bytes)
}

/// A signed number at the start of a value.
pub(in crate::kernel) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, MalformedError> {
    array(bytes.get(at..at + 8)).map(u64::from_ne_bytes)
}

pub(in crate::kernel) fn i32_of(value: &[u8]) -> Result<i32, MalformedError> {
    array(Some(value)).map(i32::from_ne_bytes)
}

/// A number that fills a value.
pub(in crate::kernel) fn u32_of(value: &[u8]) -> Result<u32, MalformedError> {
    u32_at(value, 0)
}

/// A printable name from bytes that end with a zero. Different names stay different.
pub(in crate::kernel) fn text_of(value: &[u8]) -> SmolStr {
    text::name_of_bytes(until_zero(value))
}

/// A printable sentence from bytes that end with a zero.
pub(in crate::kernel) fn words_of(value: &[u8]) -> String {
    text::words(&String::from_utf8_lossy(until_zero(value)))
}

fn until_zero(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    &value[..end]
}

/// An address of either family. Its length tells which.
pub(in crate::kernel) fn ip_of(value: &[u8]) -> Result<IpAddr, MalformedError> {
    match value.len() {
        4 => array(Some(value)).map(|bytes: [u8; 4]| Ipv4Addr::from(bytes).into()),
        16 => array(Some(value)).map(|bytes: [u8; 16]| Ipv6Addr::from(bytes).into()),
        _ => Err(MalformedError("address")),
    }
}

/// An address and the length of its prefix.
pub(in crate::kernel) fn net(address: IpAddr, bits: u8) -> Result<IpNet, MalformedError> {
    IpNet::new(address, bits).map_err(|_| MalformedError("prefix length"))
}

fn array<const N: usize>(bytes: Option<&[u8]>) -> Result<[u8; N], MalformedError> {
    bytes.and_then(|bytes| bytes.first_chunk()).copied().ok_or(MalformedError("number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_split_where_they_end() {
        let mut bytes = vec![];
        for (kind, value) in [(16u16, &b"abcde"[..]), (17, b"")] {
            bytes.extend((16 + 4 + value.len() as u32).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(3u16.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(aligned(bytes.len()), 0);
        }
        let messages: Vec<_> = Messages(&bytes).map(Result::unwrap).collect();
        assert_eq!(messages.iter().map(|m| m.kind).collect::<Vec<_>>(), [16, 17]);
        let attributes: Vec<_> = Attributes::inside(messages[0].payload).map(Result::unwrap).collect();
        assert_eq!(attributes, [(3, &b"abcde"[..])]);
    }

    #[test]
    fn a_cut_off_message_is_an_error_and_ends_the_list() {
        for cut in 1..20 {
            let mut bytes = 20u32.to_ne_bytes().to_vec();
            bytes.resize(20, 0);
            let messages: Vec<_> = Messages(&bytes[..cut]).collect();
            assert!(matches!(messages[..], [Err(_)]), "{cut}: {messages:?}");
        }
        assert!(matches!(Attributes::inside(&[8, 0, 1, 0, 9]).collect::<Vec<_>>()[..], [Err(_)]));
        assert!(matches!(Attributes::inside(&[3, 0, 1, 0]).collect::<Vec<_>>()[..], [Err(_)]));
    }
}
