//! Questions and orders to the kernel, one at a time.
//!
//! The kernel handles a routing request inside `sendmsg`, so its answer is there at once: plain blocking
//! calls are the shortest way, and the socket's time limit only guards against what should not happen.
//! A dump that failed, was interrupted or came in pieces is an error, never a short list. Of a guest's objects, of
//! which there may be any number, as many are looked at as were asked for.

use std::ops::ControlFlow;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::AsRawFd;

use super::error::Fault;
use super::wire::{Attributes, HEADER, Malformed, Message, Messages, aligned, i32_of, text_of};

/// The kernel never sends more than 32 KiB at once to a dump; one message can be larger only for links
/// with many virtual functions, which are sent only if asked for.
const BUFFER: usize = 64 * 1024;

/// How long an answer may take, in seconds.
const PATIENCE: i64 = 2;

/// How often a dump of the host's objects is tried that changes interrupt …
const ATTEMPTS: usize = 8;

/// … and one of a guest's, who may change them without end: all else waits meanwhile.
const ATTEMPTS_OF_GUEST: usize = 2;

/// A socket for requests.
pub(super) struct Requests {
    socket: Socket,
    /// A dump was left before its end, which the socket would go on with: the next request needs another.
    left: bool,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Requests {
    /// Opens the socket, with strict checking: without it the kernel would silently ignore a target
    /// namespace and answer with the host's own objects.
    pub(super) fn open() -> std::io::Result<Requests> {
        let socket = open()?;
        Ok(Requests { socket, left: false, sequence: 0, outgoing: vec![], incoming: vec![0; BUFFER] })
    }

    /// An order: done once the kernel says so. `flags`: `NLM_F_CREATE` and its like.
    pub(super) fn order(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Fault> {
        self.send(message, flags | NLM_F_ACK)?;
        self.receive(|_| Ok(ControlFlow::Continue(())))
    }

    /// A question about one object. `read` gets its answer.
    pub(super) fn ask<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<T, Fault> {
        let mut answer = None;
        self.send(message, 0)?;
        self.receive(|message| {
            answer = read(message)?;
            Ok(ControlFlow::Break(()))
        })?;
        answer.ok_or_else(|| Fault::Broken("the kernel's answer is about something else".to_owned()))
    }

    /// A question about all objects of a kind. `read` gets each of them and the list so far, which starts
    /// anew if a change interrupts the dump.
    pub(super) fn dump<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), Malformed>,
    ) -> Result<T, Fault> {
        self.list(message, ATTEMPTS, usize::MAX, read)
    }

    /// The same about objects of a guest: no more than the first `most` of them, a list that is never whole and that
    /// changes cannot make any worse.
    pub(super) fn dump_of_guest<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        most: usize,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), Malformed>,
    ) -> Result<T, Fault> {
        self.list(message, ATTEMPTS_OF_GUEST, most, read)
    }

    fn list<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        attempts: usize,
        most: usize,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), Malformed>,
    ) -> Result<T, Fault> {
        for _ in 0..attempts {
            let (mut list, mut room) = (T::default(), most);
            let (mut interrupted, mut ended, mut enough) = (false, false, false);
            self.send(message.clone(), NLM_F_DUMP)?;
            let end = self.receive(|message| {
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                ended = message.kind == libc::NLMSG_DONE as u16;
                if ended {
                    return Ok(ControlFlow::Continue(()));
                }
                enough = room == 0;
                if enough {
                    return Ok(ControlFlow::Break(()));
                }
                room -= 1;
                read(&mut list, message).map(ControlFlow::Continue)
            });
            self.left = !ended && !matches!(end, Err(Fault::Refused { .. }));
            match end {
                Ok(()) if enough || !interrupted => return Ok(list),
                Ok(()) => {}
                Err(Fault::Refused { errno: Errno::EINTR, .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::Broken(format!("the list changed {attempts} times while it was read")))
    }

    fn send(&mut self, payload: impl NetlinkSerializable, flags: u16) -> Result<(), Fault> {
        if self.left {
            self.socket =
                open().map_err(|error| Fault::Broken(format!("no socket for a request: {error}")))?;
            self.left = false;
        }
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(payload));
        message.finalize();
        self.outgoing.clear();
        self.outgoing.resize(message.buffer_len(), 0);
        message.serialize(&mut self.outgoing);
        match self.socket.send(&self.outgoing, 0) {
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::Broken(format!("a request could not be sent: {error}"))),
        }
    }

    /// Reads until the request just sent is answered: by the acknowledgement or the end of the dump, or by as much as
    /// `each` wants. What is left of earlier requests is skipped.
    fn receive(
        &mut self,
        mut each: impl FnMut(&Message<'_>) -> Result<ControlFlow<()>, Malformed>,
    ) -> Result<(), Fault> {
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut self.incoming, MsgFlags::MSG_TRUNC) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    return Err(Fault::Broken(format!("the kernel did not answer within {PATIENCE} s")));
                }
                Err(Errno::ENOBUFS) => return Err(Fault::Broken("an answer was lost (ENOBUFS)".to_owned())),
                Err(errno) => {
                    return Err(Fault::Broken(format!("no answer could be read: {}", errno.desc())));
                }
            };
            let datagram = self.incoming.get(..length).ok_or_else(|| {
                Fault::Broken(format!("an answer of {length} bytes is larger than our buffer"))
            })?;
            for message in Messages(datagram) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR => return verdict(&message, true),
                    libc::NLMSG_DONE => {
                        let _ = each(&message)?;
                        return verdict(&message, false);
                    }
                    libc::NLMSG_OVERRUN => return Err(Fault::Broken("an answer was lost".to_owned())),
                    libc::NLMSG_NOOP => {}
                    _ if each(&message)?.is_break() => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

fn open() -> std::io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_netlink_get_strict_chk(true)?;
    socket.set_ext_ack(true)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
    Ok(socket)
}

/// What an acknowledgement, or the end of a dump, says.
fn verdict(message: &Message<'_>, with_request: bool) -> Result<(), Fault> {
    let code = i32_of(message.payload)?;
    if code >= 0 {
        return Ok(());
    }
    let words = words(message, with_request).unwrap_or_default();
    Err(Fault::Refused { errno: Errno::from_raw(-code), words })
}

/// The kernel's sentence (`NLMSGERR_ATTR_MSG`), behind the number and the request that it may repeat.
fn words(message: &Message<'_>, with_request: bool) -> Option<String> {
    const ATTR_MSG: u16 = 1;
    if message.flags & libc::NLM_F_ACK_TLVS as u16 == 0 {
        return None;
    }
    let repeated = match (with_request, message.flags & libc::NLM_F_CAPPED as u16 != 0) {
        (false, _) => 0,
        (true, true) => HEADER,
        (true, false) => aligned(super::wire::u32_at(message.payload, 4).ok()? as usize),
    };
    Attributes::after(message.payload, 4 + repeated)
        .filter_map(Result::ok)
        .find(|(kind, _)| *kind == ATTR_MSG)
        .map(|(_, value)| text_of(value))
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;

    use super::super::{address, link};
    use super::*;

    #[test]
    fn a_dump_that_the_kernel_refuses_is_an_error_and_no_empty_list() {
        let mut requests = Requests::open().unwrap();
        // There is no such namespace; and without privileges there is no answer either.
        let links = link::of_guest(&mut requests, 1_000_000).unwrap_err();
        let addresses = address::of_child(&mut requests, 1_000_000, 1, AddressFamily::Unspec, 1).unwrap_err();
        assert!(matches!(links, Fault::Refused { .. }), "{links}");
        assert!(matches!(addresses, Fault::Refused { .. }), "{addresses}");
        let none = address::of_link(&mut requests, 1_000_000).unwrap_err();
        assert_eq!(none.errno(), Some(Errno::ENODEV));
        // The socket is none the worse for it.
        assert!(link::dump(&mut requests).unwrap().iter().any(|seen| seen.name == "lo"));
    }
}
