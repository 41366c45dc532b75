//! Asks a guest for an answer: one echo request (ping), sent by the kernel like any packet of the host.
//!
//! The kernel's sockets for echo requests need no privileges, but `net.ipv4.ping_group_range` has to admit the
//! user's group. Where it does not, a datagram goes to a port that nobody listens at, and the guest's kernel
//! answers that it is unreachable.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// How long a guest may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A port at which nobody listens: the first of those that traceroute uses.
const CLOSED: u16 = 33434;

/// The outcome.
#[derive(Debug)]
pub(super) enum Probed {
    /// It answered after this time. The packet had this source.
    Answered { after: Duration, source: Option<IpAddr> },
    /// Somebody on the way answered with an error.
    Rejected(io::Error),
    /// There was no answer.
    Silent,
    /// The kernel did not send it.
    Unsent(io::Error),
}

/// Asks an address, and waits for the answer.
pub(super) fn probe(address: IpAddr) -> Probed {
    let (socket, is_echo) = match echo_socket(address) {
        Ok(socket) => (socket, true),
        Err(_) => match UdpSocket::bind((unspecified(address), 0)) {
            Ok(socket) => (socket, false),
            Err(error) => return Probed::Unsent(error),
        },
    };
    let began = Instant::now();
    let send = || {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((address, if is_echo { 0 } else { CLOSED }))?;
        socket.send(if is_echo { echo_request(address) } else { &[0] })
    };
    if let Err(error) = send() {
        return Probed::Unsent(error);
    }
    let source = socket.local_addr().map(|local| local.ip()).ok();
    match socket.recv(&mut [0; 64]) {
        Ok(_) => Probed::Answered { after: began.elapsed(), source },
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Probed::Silent,
            io::ErrorKind::ConnectionRefused if !is_echo => {
                Probed::Answered { after: began.elapsed(), source }
            }
            _ => Probed::Rejected(error),
        },
    }
}

/// A socket for echo requests. It sends and receives as one for datagrams does.
fn echo_socket(address: IpAddr) -> nix::Result<UdpSocket> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol).map(UdpSocket::from)
}

/// Type, code, and room for the checksum, the socket's number and a sequence number. The kernel fills these.
fn echo_request(address: IpAddr) -> &'static [u8] {
    match address {
        IpAddr::V4(_) => &[8, 0, 0, 0, 0, 0, 0, 1],
        IpAddr::V6(_) => &[128, 0, 0, 0, 0, 0, 0, 1],
    }
}

fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_answers_itself() {
        let own: IpAddr = Ipv4Addr::LOCALHOST.into();
        let probed = probe(own);
        assert!(
            matches!(probed, Probed::Answered { source: Some(source), .. } if source == own),
            "{probed:?}"
        );
    }
}
