//! Just enough netlink, built and read by hand, so that little stands between the clock and the kernel.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Maximum size of the kernel's queue for a listener, in bytes.
const QUEUE: usize = 32 << 20;

const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// A request to the kernel, with an acknowledgement.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// `header` is the part that all messages of this kind have before their attributes, such as `struct
    /// ifaddrmsg`.
    fn new(kind: u16, flags: u16, header: &[u8]) -> Request {
        let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(header);
        Request(bytes)
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Request {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn with_nest(mut self, kind: u16, inside: impl FnOnce(Request) -> Request) -> Request {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        let mut nested = inside(self);
        let length = (nested.0.len() - start) as u16;
        nested.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        nested
    }

    /// A macvlan child in bridge mode, made at once in the namespace of this descriptor.
    pub(crate) fn add_child(index: u32, parent: u32, mac: [u8; 6], netns: i32) -> Request {
        const IFLA_NET_NS_FD: u16 = 28;
        const IFLA_MACVLAN_MODE: u16 = 1;
        const MODE_BRIDGE: u32 = 4;
        Request::new(libc::RTM_NEWLINK, CREATE, &link_header(index, 0, 0))
            .with(libc::IFLA_IFNAME, b"eth0\0")
            .with(libc::IFLA_ADDRESS, &mac)
            .with(libc::IFLA_LINK, &parent.to_ne_bytes())
            .with(IFLA_NET_NS_FD, &netns.to_ne_bytes())
            .with_nest(libc::IFLA_LINKINFO, |info| {
                info.with(libc::IFLA_INFO_KIND, b"macvlan").with_nest(libc::IFLA_INFO_DATA, |data| {
                    data.with(IFLA_MACVLAN_MODE, &MODE_BRIDGE.to_ne_bytes())
                })
            })
    }

    /// The link gets no link-local address by itself.
    pub(crate) fn no_link_local(index: u32) -> Request {
        const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
        const MODE_NONE: u8 = 1;
        Request::new(libc::RTM_NEWLINK, 0, &link_header(index, 0, 0)).with_nest(
            libc::IFLA_AF_SPEC,
            |families| {
                families
                    .with_nest(libc::AF_INET6 as u16, |v6| v6.with(IFLA_INET6_ADDR_GEN_MODE, &[MODE_NONE]))
            },
        )
    }

    /// Sets a link up or down.
    pub(crate) fn set_up(index: u32, up: bool) -> Request {
        let change = libc::IFF_UP as u32;
        Request::new(libc::RTM_NEWLINK, 0, &link_header(index, if up { change } else { 0 }, change))
    }

    /// Deletes a link.
    pub(crate) fn delete_link(index: u32) -> Request {
        Request::new(libc::RTM_DELLINK, 0, &link_header(index, 0, 0))
    }

    /// Gives a namespace the next free id among the ids of the host's namespace.
    pub(crate) fn name_namespace(netns: i32) -> Request {
        const NETNSA_NSID: u16 = 1;
        const NETNSA_FD: u16 = 3;
        Request::new(libc::RTM_NEWNSID, 0, &[0; 4])
            .with(NETNSA_NSID, &(-1_i32).to_ne_bytes())
            .with(NETNSA_FD, &netns.to_ne_bytes())
    }

    /// Adds an IPv4 address.
    pub(crate) fn add_address(index: u32, address: Ipv4Addr, prefix: u8) -> Request {
        Request::address(libc::RTM_NEWADDR, CREATE, index, address, prefix)
    }

    /// Deletes an IPv4 address.
    pub(crate) fn delete_address(index: u32, address: Ipv4Addr, prefix: u8) -> Request {
        Request::address(libc::RTM_DELADDR, 0, index, address, prefix)
    }

    fn address(kind: u16, flags: u16, index: u32, address: Ipv4Addr, prefix: u8) -> Request {
        let mut header = [libc::AF_INET as u8, prefix, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        Request::new(kind, flags, &header)
            .with(libc::IFA_LOCAL, &address.octets())
            .with(libc::IFA_ADDRESS, &address.octets())
    }

    /// Adds a host route of table main through a link.
    pub(crate) fn add_route(link: u32, to: Ipv4Addr, source: Ipv4Addr, protocol: u8) -> Request {
        Request::route(libc::RTM_NEWROUTE, CREATE, link, to, protocol, libc::RT_SCOPE_LINK)
            .with(libc::RTA_PREFSRC, &source.octets())
    }

    /// Deletes a host route of table main.
    pub(crate) fn delete_route(link: u32, to: Ipv4Addr, protocol: u8) -> Request {
        Request::route(libc::RTM_DELROUTE, 0, link, to, protocol, libc::RT_SCOPE_NOWHERE)
    }

    fn route(kind: u16, flags: u16, link: u32, to: Ipv4Addr, protocol: u8, scope: u8) -> Request {
        let (family, main, unicast) = (libc::AF_INET as u8, libc::RT_TABLE_MAIN, libc::RTN_UNICAST);
        let header = [family, 32, 0, 0, main, protocol, scope, unicast, 0, 0, 0, 0];
        Request::new(kind, flags, &header)
            .with(libc::RTA_DST, &to.octets())
            .with(libc::RTA_OIF, &link.to_ne_bytes())
    }

    /// Deletes a neighbour entry.
    pub(crate) fn delete_neighbour(link: u32, address: Ipv4Addr) -> Request {
        let mut header = [0; 12];
        header[0] = libc::AF_INET as u8;
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        Request::new(libc::RTM_DELNEIGH, 0, &header).with(libc::NDA_DST, &address.octets())
    }
}

/// `struct ifinfomsg`
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// A socket in the network namespace of the thread that opened it, even when the thread has moved on.
pub(crate) struct Socket(netlink_sys::Socket);

impl Socket {
    /// For requests.
    pub(crate) fn open() -> io::Result<Socket> {
        let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Socket(socket))
    }

    /// For the events of these groups. `everywhere`: of all namespaces that have an id here.
    pub(crate) fn listen(groups: &[u32], everywhere: bool) -> io::Result<Socket> {
        let socket = Socket::open()?;
        setsockopt(&socket.0, sockopt::RcvBufForce, &QUEUE)?;
        if everywhere {
            socket.0.set_listen_all_namespaces(true)?;
        }
        for group in groups {
            socket.0.add_membership(*group)?;
        }
        Ok(socket)
    }

    /// How long [`Socket::receive`] waits.
    pub(crate) fn patience(&self, limit: Duration) -> io::Result<()> {
        Ok(setsockopt(&self.0, sockopt::ReceiveTimeout, &TimeVal::microseconds(limit.as_micros() as i64))?)
    }

    /// Has a request carried out.
    pub(crate) fn order(&self, request: Request) -> io::Result<()> {
        let Request(mut bytes) = request;
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.0.send(&bytes, 0)?;
        let mut answer = [0; 4096];
        let length = self.0.recv(&mut &mut answer[..], 0)?;
        match number(&answer[..length], HEADER).map(|code| code as i32) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::Error::other("an acknowledgement that is cut off")),
        }
    }

    /// The next datagram of events; none if none comes in time.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Events<'a>>> {
        match self.0.recv(&mut &mut *buffer, 0) {
            Ok(length) => Ok(Some(Events(&buffer[..length]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A change. `new`: it is there now; otherwise it is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    /// A route to one address.
    Route { new: bool, to: IpAddr, link: u32, protocol: u8 },
    /// A neighbour entry. Before the kernel deletes one, it sends it once more, as failed.
    Neighbour { new: bool, address: IpAddr, link: u32, protocol: u8, permanent: bool },
    /// A link. `works`: it is up and so is the link below it.
    Link { new: bool, index: u32, group: u32, works: bool },
    /// An address.
    Address { new: bool, address: IpAddr, link: u32 },
    /// Something else, such as a setting of a link.
    Other { link: u32 },
}

/// The events in a datagram.
pub(crate) struct Events<'a>(&'a [u8]);

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while let Some(length) = number(self.0, 0) {
            let message = self.0.get(..length as usize)?;
            self.0 = self.0.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
            if let Some(event) = event(message) {
                return Some(event);
            }
        }
        None
    }
}

fn event(message: &[u8]) -> Option<Event> {
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let body = message.get(HEADER..)?;
    match kind {
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => Some(Event::Route {
            new: kind == libc::RTM_NEWROUTE,
            to: ip(attribute(body, 12, libc::RTA_DST)?)?,
            link: number(attribute(body, 12, libc::RTA_OIF)?, 0)?,
            protocol: *body.get(5)?,
        }),
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
            const NDA_PROTOCOL: u16 = 12;
            let state = u16::from_ne_bytes(*body.get(8..)?.first_chunk()?);
            Some(Event::Neighbour {
                permanent: state == libc::NUD_PERMANENT,
                new: kind == libc::RTM_NEWNEIGH,
                address: ip(attribute(body, 12, libc::NDA_DST)?)?,
                link: number(body, 4)?,
                protocol: attribute(body, 12, NDA_PROTOCOL)
                    .and_then(|value| value.first().copied())
                    .unwrap_or(0),
            })
        }
        libc::RTM_NEWLINK | libc::RTM_DELLINK => {
            const IFLA_GROUP: u16 = 27;
            let works = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
            Some(Event::Link {
                new: kind == libc::RTM_NEWLINK,
                index: number(body, 4)?,
                group: attribute(body, 16, IFLA_GROUP).and_then(|value| number(value, 0)).unwrap_or(0),
                works: number(body, 8)? & works == works,
            })
        }
        libc::RTM_NEWADDR | libc::RTM_DELADDR => Some(Event::Address {
            new: kind == libc::RTM_NEWADDR,
            address: ip(
                attribute(body, 8, libc::IFA_LOCAL).or_else(|| attribute(body, 8, libc::IFA_ADDRESS))?
            )?,
            link: number(body, 4)?,
        }),
        libc::RTM_NEWNETCONF => {
            const NETCONFA_IFINDEX: u16 = 1;
            Some(Event::Other { link: number(attribute(body, 4, NETCONFA_IFINDEX)?, 0)? })
        }
        _ => None,
    }
}

fn attribute(body: &[u8], header: usize, wanted: u16) -> Option<&[u8]> {
    let mut rest = body.get(header..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        if kind & 0x3fff == wanted {
            return rest.get(4..length);
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk().map(|octets: &[u8; 4]| IpAddr::from(*octets)),
        _ => bytes.first_chunk().map(|octets: &[u8; 16]| IpAddr::from(*octets)),
    }
}
