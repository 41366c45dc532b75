//! A packet, and where it passes.

use std::fmt;
use std::net::IpAddr;

use crate::model::neighbours::solicited_node;
use crate::model::{Family, names};

/// A port that no rule is likely to name: it stands for all that are not named.
pub const ANY_PORT: u16 = 51_234;

/// The way of a packet through the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// From a link to the host.
    In,
    /// From the host to a link.
    Out,
    /// From one link to another.
    Through,
}

/// What a packet carries. It is addressed to the host, or comes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// The question of ARP who has an address.
    ArpRequest,
    /// The same of IPv6.
    Solicitation,
    /// A ping, or the answer to one.
    Echo,
    /// To a TCP port.
    Tcp(u16),
    /// To a UDP port.
    Udp(u16),
}

/// How the kernel's connection tracking counts a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// The first of its connection.
    New,
    /// An answer.
    Established,
    /// It never tracks these: neighbour discovery, ARP.
    Untracked,
}

/// A packet as a firewall meets it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its way.
    pub path: Path,
    /// The link that it comes in through.
    pub input: Option<&'a str>,
    /// The link that it leaves through.
    pub output: Option<&'a str>,
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// What it carries.
    pub content: Content,
    /// Its connection.
    pub state: Tracked,
    /// The link on the guest's side is a shim: a link without addresses, in our group.
    pub is_shim: bool,
}

impl Packet<'_> {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.destination)
    }

    /// Whether it is IP, and not ARP.
    pub fn is_ip(&self) -> bool {
        self.content != Content::ArpRequest
    }

    /// The names and the number of its protocol, as rules may spell them.
    pub fn protocol(&self) -> &'static [&'static str] {
        match (self.content, self.family()) {
            (Content::ArpRequest, _) => &[],
            (Content::Tcp(_), _) => &["tcp", "6"],
            (Content::Udp(_), _) => &["udp", "17"],
            (_, Family::V4) => &["icmp", "1"],
            (_, Family::V6) => &["ipv6-icmp", "icmpv6", "58"],
        }
    }

    /// The names and the number of its type, if it is ICMP.
    pub fn icmp_type(&self) -> &'static [&'static str] {
        match (self.content, self.family(), self.state) {
            (Content::Solicitation, ..) => &["nd-neighbor-solicit", "neighbour-solicitation", "135", "135/0"],
            (Content::Echo, Family::V4, Tracked::Established) => &["echo-reply", "pong", "0", "0/0"],
            (Content::Echo, Family::V4, _) => &["echo-request", "ping", "8", "8/0"],
            (Content::Echo, Family::V6, Tracked::Established) => &["echo-reply", "129", "129/0"],
            (Content::Echo, Family::V6, _) => &["echo-request", "128", "128/0"],
            _ => &[],
        }
    }

    /// The destination port. An answer goes to a port that nobody chose.
    pub fn port(&self) -> Option<u16> {
        match self.content {
            Content::Tcp(port) | Content::Udp(port) if self.state != Tracked::Established => Some(port),
            _ => None,
        }
    }

    /// Its state, as rules spell it.
    pub fn state(&self) -> &'static str {
        match self.state {
            Tracked::New => "new",
            Tracked::Established => "established",
            Tracked::Untracked => "untracked",
        }
    }

    /// The group of the link that it comes in through, if it is known.
    pub fn group(&self) -> Option<u32> {
        self.is_shim.then_some(names::LINK_GROUP)
    }

    /// The kinds of its destination on this host, as `fib … type` and `addrtype` spell them. `on_link`: only an
    /// address of the very link counts, and a shim has none.
    pub fn destination_type(&self, on_link: bool) -> &'static str {
        match self.path {
            _ if self.destination.is_multicast() => "multicast",
            Path::In if on_link && self.is_shim => "unicast",
            Path::In => "local",
            Path::Out | Path::Through => "unicast",
        }
    }
}

/// The group that is asked for an address over IPv6.
pub fn asked_group(address: IpAddr) -> IpAddr {
    solicited_node(address).unwrap_or(address)
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::ArpRequest => f.write_str("ARP requests"),
            Content::Solicitation => f.write_str("neighbour solicitations (IPv6)"),
            Content::Echo => f.write_str("pings"),
            Content::Tcp(port) => write!(f, "TCP to port {port}"),
            Content::Udp(port) => write!(f, "UDP to port {port}"),
        }
    }
}
