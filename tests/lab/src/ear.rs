//! The frames that arrive at the links of a guest.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Guest;
use crate::forge::Mac;

/// Hears every frame in a guest's network namespace, from its creation on.
#[derive(Debug)]
pub struct Ear {
    socket: OwnedFd,
}

impl Guest {
    /// An ear in the guest.
    ///
    /// # Errors
    /// If the guest does not run.
    pub fn ear(&self) -> Result<Ear> {
        self.within(|| {
            let all = SockProtocol::EthAll;
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all)?;
            Ok(Ear { socket })
        })
    }
}

impl Ear {
    /// The next ARP reply: an address and its MAC. `None` if there is none in that time.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn arp_reply(&self, within: Duration) -> Result<Option<(Mac, Ipv4Addr)>> {
        const REPLY: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
        let patience = TimeVal::microseconds(within.as_micros().max(1).try_into()?);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &patience)?;
        let end = Instant::now() + within;
        let mut frame = [0; 2048];
        while Instant::now() < end {
            match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(length) if length >= 32 && frame[12..22] == REPLY => {
                    let mac: Mac = frame[22..28].try_into()?;
                    let address: [u8; 4] = frame[28..32].try_into()?;
                    return Ok(Some((mac, address.into())));
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error).context("hearing frames"),
            }
        }
        Ok(None)
    }
}
