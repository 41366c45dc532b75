//! Questions and orders to the kernel, one at a time.
//!
//! The kernel handles a routing request inside `sendmsg` (FACTS 61), so its answer is there at once. Plain
//! blocking calls are therefore the shortest way, and the socket's time limit is only a precaution. A dump
//! that failed, was interrupted or came in pieces is an error, never a short list. A guest may have any
//! number of objects, so the caller sets the maximum number that are looked at.
//!
//! The kernel itself may end a dump early and call it complete: Linux 6.9 and later do so if an object does
//! not fit into the datagram that they allocated. Only links can be that large, so `roll` checks lists of
//! links.

use std::ops::ControlFlow;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::AsRawFd;

use super::error::RequestError;
use super::wire::{Attributes, HEADER, MalformedError, Message, Messages, aligned, i32_of, words_of};

/// The size of a buffer for answers and events. The datagrams of a dump have at most 32 KiB, unless one link
/// needs more: 496 alternative names take 65 KiB.
pub(in crate::kernel) const BUFFER: usize = 64 * 1024;

/// Maximum size of a buffer. A larger object counts as unreadable.
pub(in crate::kernel) const LARGEST: usize = 1024 * 1024;

/// How long an answer may take, in seconds.
const PATIENCE: i64 = 2;

/// Maximum number of tries of a dump of the host's objects that changes interrupt …
const ATTEMPTS: usize = 8;

/// … and of a guest's objects. The guest may keep changing them, and everything else waits meanwhile.
const ATTEMPTS_OF_GUEST: usize = 2;

/// A socket for requests.
pub(in crate::kernel) struct Requests {
    socket: Socket,
    /// A dump was abandoned before its end. The socket would go on with it, so the next request needs a new
    /// socket.
    left: bool,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// The length of the longest datagram in the answer to the running request.
    longest: usize,
}

impl Requests {
    /// Opens the socket, with strict checking. Without that the kernel would silently ignore a target
    /// namespace and answer with the host's own objects (FACTS 53).
    pub(in crate::kernel) fn open() -> std::io::Result<Requests> {
        let mut incoming = vec![0; BUFFER];
        let socket = open(&mut incoming)?;
        Ok(Requests { socket, left: false, sequence: 0, outgoing: vec![], incoming, longest: 0 })
    }

    /// Gives an order and waits until the kernel has acknowledged it. `flags`: `NLM_F_CREATE` and its like.
    pub(in crate::kernel) fn order(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), RequestError> {
        self.send(message, flags | NLM_F_ACK)?;
        self.receive(|_| Ok(ControlFlow::Continue(())))
    }

    /// Asks about one object. `read` gets the answer.
    pub(in crate::kernel) fn ask<T>(
        &mut self,
        message: RouteNetlinkMessage,
        read: impl Fn(&Message<'_>) -> Result<Option<T>, MalformedError>,
    ) -> Result<T, RequestError> {
        let answer = loop {
            let mut answer = None;
            self.send(message.clone(), 0)?;
            let end = self.receive(|message| {
                answer = read(message)?;
                Ok(ControlFlow::Break(()))
            });
            match end {
                Err(RequestError::Oversized(length)) if self.grow(length) => {}
                end => break end.map(|()| answer),
            }
        };
        self.shrink();
        answer?.ok_or_else(|| RequestError::Broken("the kernel's answer is about something else".to_owned()))
    }

    /// Asks about all objects of a kind. `read` gets each of them and the list so far, which is started again
    /// if a change interrupts the dump.
    pub(in crate::kernel) fn dump<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), MalformedError>,
    ) -> Result<T, RequestError> {
        self.list(message, ATTEMPTS, usize::MAX, false, read)
    }

    /// The same about objects of a guest, but only the first `most` of them. Such a list may not be whole in
    /// any case, so an interruption does not matter once it is full.
    pub(in crate::kernel) fn dump_of_guest<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        most: usize,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), MalformedError>,
    ) -> Result<T, RequestError> {
        self.list(message, ATTEMPTS_OF_GUEST, most, false, read)
    }

    /// The same about links. Only links can be too large to be read at all; those are left out.
    pub(in crate::kernel) fn dump_readable<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        most: Option<usize>,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), MalformedError>,
    ) -> Result<T, RequestError> {
        let attempts = if most.is_some() { ATTEMPTS_OF_GUEST } else { ATTEMPTS };
        self.list(message, attempts, most.unwrap_or(usize::MAX), true, read)
    }

    fn list<T: Default>(
        &mut self,
        message: impl NetlinkSerializable + Clone,
        attempts: usize,
        most: usize,
        readable_only: bool,
        read: impl Fn(&mut T, &Message<'_>) -> Result<(), MalformedError>,
    ) -> Result<T, RequestError> {
        let mut attempt = 0;
        while attempt < attempts {
            let (mut list, mut room) = (T::default(), most);
            let (mut interrupted, mut ended, mut enough) = (false, false, false);
            self.send(message.clone(), NLM_F_DUMP)?;
            let mut each = |message: &Message<'_>| {
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
            };
            let end = loop {
                match self.receive(&mut each) {
                    Err(RequestError::Oversized(length)) if readable_only && length > LARGEST => {}
                    end => break end,
                }
            };
            // Nothing comes after a refusal, unless the kernel only had no memory for a datagram.
            let over =
                ended || matches!(&end, Err(RequestError::Refused { errno, .. }) if *errno != Errno::ENOBUFS);
            self.left = !over;
            match end {
                Ok(()) if enough || !interrupted => {
                    self.shrink();
                    return Ok(list);
                }
                Ok(()) | Err(RequestError::Refused { errno: Errno::EINTR, .. }) => attempt += 1,
                Err(RequestError::Oversized(length)) if self.grow(length) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RequestError::Broken(format!("the list changed {attempts} times while it was read")))
    }

    /// Makes room for a datagram. Returns whether that was possible.
    fn grow(&mut self, length: usize) -> bool {
        let possible = length > self.incoming.len() && length <= LARGEST;
        if possible {
            self.incoming.resize(length.next_power_of_two(), 0);
        }
        possible
    }

    /// Gives memory back when the last request did not need the larger buffer.
    fn shrink(&mut self) {
        if self.incoming.len() > BUFFER && self.longest <= BUFFER {
            self.incoming = vec![0; BUFFER];
        }
    }

    fn send(&mut self, payload: impl NetlinkSerializable, flags: u16) -> Result<(), RequestError> {
        if self.left {
            self.socket = open(&mut self.incoming)
                .map_err(|error| RequestError::Broken(format!("no socket for a request: {error}")))?;
            self.left = false;
        }
        self.longest = 0;
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
            Err(error) => Err(RequestError::Broken(format!("a request could not be sent: {error}"))),
        }
    }

    /// Reads the answer to the request that was just sent, up to the acknowledgement, the end of the dump, or
    /// as far as `each` wants. Answers to earlier requests are skipped.
    fn receive(
        &mut self,
        mut each: impl FnMut(&Message<'_>) -> Result<ControlFlow<()>, MalformedError>,
    ) -> Result<(), RequestError> {
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut self.incoming, MsgFlags::MSG_TRUNC) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    return Err(RequestError::Broken(format!(
                        "the kernel did not answer within {PATIENCE} s"
                    )));
                }
                Err(errno @ Errno::ENOBUFS) => {
                    return Err(RequestError::Refused { errno, words: "an answer was lost".to_owned() });
                }
                Err(errno) => {
                    return Err(RequestError::Broken(format!("no answer could be read: {}", errno.desc())));
                }
            };
            self.longest = self.longest.max(length);
            let datagram = self.incoming.get(..length).ok_or(RequestError::Oversized(length))?;
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
                    libc::NLMSG_OVERRUN => return Err(RequestError::Broken("an answer was lost".to_owned())),
                    libc::NLMSG_NOOP => {}
                    _ if each(&message)?.is_break() => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

fn open(incoming: &mut [u8]) -> std::io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_netlink_get_strict_chk(true)?;
    socket.set_ext_ack(true)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
    // The kernel allocates 32 KiB for the datagrams of a dump only after it has seen a buffer of that size.
    // Until then a first object of 4 KiB would end the dump.
    let mut header = NetlinkHeader::default();
    header.length = HEADER as u32;
    header.message_type = libc::NLMSG_NOOP as u16;
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut nothing = [0; HEADER];
    header.emit(&mut nothing);
    socket.send(&nothing, 0)?;
    recv(socket.as_raw_fd(), incoming, MsgFlags::empty())?;
    Ok(socket)
}

/// The result in an acknowledgement, or at the end of a dump.
fn verdict(message: &Message<'_>, with_request: bool) -> Result<(), RequestError> {
    let code = i32_of(message.payload)?;
    if code >= 0 {
        return Ok(());
    }
    let words = words(message, with_request).unwrap_or_default();
    Err(RequestError::Refused { errno: Errno::from_raw(-code), words })
}

/// The kernel's sentence (`NLMSGERR_ATTR_MSG`). It follows the error number and the request, which the kernel
/// may repeat.
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
        .map(|(_, value)| words_of(value))
}
