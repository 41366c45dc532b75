//! Guests by the thousand: each is its own network namespace with a real macvlan child on the host's `eth0`.
//!
//! Only a socket holds each namespace, so all of them end with this program, however it ends. The child is
//! not moved there, which costs a grace period of the kernel each (17 ms), but made there by a request of the
//! host. Before that the host's namespace gives the new one an id, as a move would have done.

use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use lab::Machine;
use nix::sched::{CloneFlags, unshare};

use crate::netlink::{Request, Socket};

/// The prefix of the LAN, which all guests have their addresses in.
pub(crate) const PREFIX: u8 = 16;

/// The ifindex of the first guest's child.
pub(crate) const FIRST_INDEX: u32 = 10_000;

/// One guest.
pub(crate) struct Guest {
    number: u32,
    /// In its namespace.
    socket: Socket,
    /// In its namespace too. Only the first guest has one.
    frames: Option<UdpSocket>,
}

impl Guest {
    /// The server's name for it.
    pub(crate) fn name(&self) -> String {
        format!("guest{}", self.number)
    }

    /// The MAC of its NIC.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let [_, b, c, d] = self.number.to_be_bytes();
        [0x00, 0x16, 0x3e, b, c, d]
    }

    /// The address that it always has.
    pub(crate) fn address(&self) -> Ipv4Addr {
        address(4, self.number)
    }

    /// Gives it one more address.
    pub(crate) fn add(&self, address: Ipv4Addr) -> Result<()> {
        let request = Request::add_address(self.index(), address, PREFIX);
        self.socket.order(request).with_context(|| format!("{}: adding {address}", self.name()))
    }

    /// Takes an address from it.
    pub(crate) fn remove(&self, address: Ipv4Addr) -> Result<()> {
        let request = Request::delete_address(self.index(), address, PREFIX);
        self.socket.order(request).with_context(|| format!("{}: deleting {address}", self.name()))
    }

    /// The socket where it hears frames to it. Only the first guest can.
    pub(crate) fn listen(&self) -> Result<&UdpSocket> {
        self.frames.as_ref().with_context(|| format!("{} hears nothing", self.name()))
    }

    fn index(&self) -> u32 {
        FIRST_INDEX + self.number
    }
}

/// The address for the change of this number. They do not repeat for long, and are never those that guests
/// always have.
pub(crate) fn passing_address(number: u32) -> Ipv4Addr {
    address(128, number % 30_000)
}

fn address(third: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, (third + number / 250) as u8, (1 + number % 250) as u8)
}

/// Makes the guests with these numbers on the link of a machine.
pub(crate) fn make(host: &Machine, parent: &str, numbers: std::ops::Range<u32>) -> Result<Vec<Guest>> {
    host.within(|| {
        let socket = Socket::open()?;
        let parent = nix::net::if_::if_nametoindex(parent)?;
        numbers
            .map(|number| one(&socket, parent, number).with_context(|| format!("making guest {number}")))
            .collect()
    })
}

/// Leaves the thread in the guest's namespace.
fn one(host: &Socket, parent: u32, number: u32) -> Result<Guest> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let netns = File::open("/proc/thread-self/ns/net")?;
    host.order(Request::name_namespace(netns.as_raw_fd())).context("giving the namespace an id")?;
    let frames = if number == 0 { Some(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?) } else { None };
    let guest = Guest { number, socket: Socket::open()?, frames };
    let index = guest.index();
    host.order(Request::add_child(index, parent, guest.mac(), netns.as_raw_fd()))
        .context("making its child")?;
    guest.socket.order(Request::no_link_local(index)).context("addrgenmode")?;
    guest.socket.order(Request::set_up(index, true)).context("setting its child up")?;
    guest.add(guest.address())?;
    Ok(guest)
}
