//! A socket that hears events.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use netlink_sys::Socket;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, NetlinkAddr, recv, recvmsg, setsockopt, sockopt};
use tokio::io::unix::AsyncFd;

use super::channel::Channel;
use crate::model::NetnsId;

/// Maximum number of bytes of events that the kernel queues for us before it drops any. Only queued events
/// take memory.
const QUEUE: usize = 8 * 1024 * 1024;

const SOL_NETLINK: i32 = 270;
const NETLINK_LISTEN_ALL_NSID: i32 = 8;

/// A datagram of events, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Heard {
    /// Events of this many bytes, from the host's namespace or from that of the netns id.
    Events { length: usize, netns: Option<NetnsId> },
    /// A datagram of this many bytes is lost, because the buffer is smaller.
    Oversized { length: usize, netns: Option<NetnsId> },
    /// Events were lost.
    Lost,
    /// There is nothing more, for now.
    Nothing,
}

/// A socket that is a member of multicast groups.
pub(in crate::kernel) struct Monitor {
    channel: Channel,
    socket: Arc<Socket>,
    /// Made when it is first waited for, because only then is there a reactor.
    ready: Option<AsyncFd<Arc<Socket>>>,
    /// Events were lost. This was discovered by a check whether there are any.
    lost: bool,
    /// The queue has not been empty since events were lost. The kernel reports only the first loss. Until the
    /// queue is empty, further losses are silent (FACTS 60).
    congested: bool,
    /// Number of times that this began.
    overruns: u64,
}

impl Monitor {
    /// Joins the groups of a channel, and those of its newer groups that the kernel has. CAP_NET_BROADCAST is
    /// needed to hear the events of all namespaces that have a netns id here.
    pub(in crate::kernel) fn open(channel: Channel) -> std::io::Result<Monitor> {
        let mut socket = Socket::new(channel.protocol())?;
        socket.set_non_blocking(true)?;
        if setsockopt(&socket, sockopt::RcvBufForce, &QUEUE).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &QUEUE)?;
        }
        if channel == Channel::Everywhere {
            socket.set_listen_all_namespaces(true)?;
        }
        socket.bind_auto()?;
        for group in channel.groups() {
            socket.add_membership(*group)?;
        }
        for group in channel.newer_groups() {
            // An older kernel does not have the group. Then its events are not heard.
            let _ = socket.add_membership(*group);
        }
        Ok(Monitor {
            channel,
            socket: Arc::new(socket),
            ready: None,
            lost: false,
            congested: false,
            overruns: 0,
        })
    }

    /// The channel that it hears.
    pub(in crate::kernel) fn channel(&self) -> Channel {
        self.channel
    }

    /// Number of times that the kernel began to drop events because the queue was full.
    pub(in crate::kernel) fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Takes the next datagram into the buffer.
    pub(in crate::kernel) fn hear(&mut self, buffer: &mut [u8]) -> Heard {
        let heard = if std::mem::take(&mut self.lost) { Heard::Lost } else { self.next(buffer) };
        match heard {
            Heard::Lost => self.overruns += u64::from(!std::mem::replace(&mut self.congested, true)),
            Heard::Nothing if std::mem::take(&mut self.congested) => return Heard::Lost,
            Heard::Nothing | Heard::Events { .. } | Heard::Oversized { .. } => {}
        }
        heard
    }

    fn next(&self, buffer: &mut [u8]) -> Heard {
        loop {
            match receive(&self.socket, buffer) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Heard::Nothing,
                // A netlink socket knows no other error. After any other, nothing can be trusted.
                Err(_) => return Heard::Lost,
                Ok(heard) => return heard,
            }
        }
    }

    /// Waits until there is something to hear. Cancel safe.
    pub(in crate::kernel) async fn ready(&mut self) -> std::io::Result<()> {
        if self.lost {
            return Ok(());
        }
        let ready = match &mut self.ready {
            Some(ready) => ready,
            none => none.insert(register(Arc::clone(&self.socket))?),
        };
        loop {
            let mut guard = ready.readable().await?;
            match recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => guard.clear_ready(),
                Err(Errno::EINTR) => {}
                // The check has consumed the error, so it is remembered.
                Err(_) => {
                    self.lost = true;
                    return Ok(());
                }
                Ok(_) => return Ok(()),
            }
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe; our Arc keeps the descriptor open as long as this")]
fn register(socket: Arc<Socket>) -> std::io::Result<AsyncFd<Arc<Socket>>> {
    AsyncFd::with_interest(socket, tokio::io::Interest::READABLE)
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<Heard, Errno> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!(i32);
    // With MSG_TRUNC the kernel returns the length of a datagram that does not fit.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let received = recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    if received.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Ok(Heard::Lost);
    }
    // Only messages from the kernel count.
    if received.address.is_some_and(|sender| sender.pid() != 0) {
        return Ok(Heard::Events { length: 0, netns: None });
    }
    let (length, netns) = (received.bytes, received.cmsgs()?.find_map(netns_of));
    match received.flags.contains(MsgFlags::MSG_TRUNC) {
        true => Ok(Heard::Oversized { length, netns }),
        false => Ok(Heard::Events { length, netns }),
    }
}

/// The netns id that came along. Events of the socket's own namespace have none.
fn netns_of(control: ControlMessageOwned) -> Option<NetnsId> {
    let ControlMessageOwned::Unknown(control) = control else { return None };
    let ours = control.cmsg_header.cmsg_level == SOL_NETLINK
        && control.cmsg_header.cmsg_type == NETLINK_LISTEN_ALL_NSID;
    let bytes = control.data_bytes.first_chunk()?;
    ours.then(|| NetnsId(i32::from_ne_bytes(*bytes)))
}
