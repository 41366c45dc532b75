//! Network namespaces by the ids that the host's namespace has given them.

use std::collections::BTreeSet;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use nix::errno::Errno;

use super::error::Fault;
use super::request::Requests;
use super::wire::{Attributes, Malformed, Message, i32_of};

/// The kernel's dump ends early, after the lowest 134 ids on Linux 6.18. A list shorter than this is whole.
const SURELY_WHOLE: usize = 100;

/// So many free ids in a row, and there are no more beyond those that are known. The kernel gives the lowest free one.
const GAP: i32 = 64;

/// The same where none is known yet, for many guests may have stopped together. To ask for all of them takes 20 ms, too
/// long for each loss of events.
const FIRST_GAP: i32 = 1024;

/// Reads `RTM_NEWNSID` and `RTM_DELNSID`: the id, -1 if the namespace has none.
pub(super) fn read(message: &Message<'_>) -> Result<Option<i32>, Malformed> {
    const HEADER: usize = 4;
    const NETNSA_NSID: u16 = 1;
    for attribute in Attributes::after(message.payload, HEADER) {
        if let (NETNSA_NSID, value) = attribute? {
            return i32_of(value).map(Some);
        }
    }
    Ok(None)
}

/// The id of the host's namespace in its own table, by which the kernel names it as the place of
/// children's parents. Given to it if it has none.
pub(super) fn own(requests: &mut Requests) -> Result<i32, Fault> {
    // The thread's id and not the process's: tests have threads in namespaces of their own.
    let pid = NsidAttribute::Pid(nix::unistd::gettid().as_raw().unsigned_abs());
    let known = requests.ask(RouteNetlinkMessage::GetNsId(message(vec![pid.clone()])), read)?;
    if known >= 0 {
        return Ok(known);
    }
    let any = NsidAttribute::Id(-1);
    match requests.order(RouteNetlinkMessage::NewNsId(message(vec![pid.clone(), any])), 0) {
        Ok(()) | Err(Fault::Refused { errno: Errno::EEXIST, .. }) => {}
        Err(fault) => return Err(fault),
    }
    requests.ask(RouteNetlinkMessage::GetNsId(message(vec![pid])), read)
}

/// The id of the namespace of a process; `None` where there is no such process, or its namespace has none.
pub(super) fn of_process(requests: &mut Requests, pid: u32) -> Result<Option<i32>, Fault> {
    let question = RouteNetlinkMessage::GetNsId(message(vec![NsidAttribute::Pid(pid)]));
    match requests.ask(question, read) {
        Ok(id) => Ok(Some(id).filter(|id| *id >= 0)),
        Err(Fault::Refused { errno: Errno::ESRCH | Errno::ENOENT, .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Whether there is a namespace with that id.
pub(super) fn exists(requests: &mut Requests, id: i32) -> Result<bool, Fault> {
    let question = RouteNetlinkMessage::GetNsId(message(vec![NsidAttribute::Id(id)]));
    match requests.ask(question, read) {
        Ok(found) => Ok(found == id),
        Err(Fault::Refused { errno: Errno::ENOENT, .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// All ids, of which these were known.
pub(super) fn dump(requests: &mut Requests, known: &BTreeSet<i32>) -> Result<BTreeSet<i32>, Fault> {
    let question = RouteNetlinkMessage::GetNsId(message(vec![]));
    let mut ids = requests.dump(question, |list: &mut BTreeSet<i32>, message| {
        list.extend(read(message)?.filter(|id| *id >= 0));
        Ok(())
    })?;
    if ids.len() < SURELY_WHOLE {
        return Ok(ids);
    }
    let mut id = ids.last().copied().unwrap_or(-1);
    let mut last = known.last().copied().unwrap_or(-1).max(id);
    let gap = if known.is_empty() { FIRST_GAP } else { GAP };
    while id - last < gap {
        id += 1;
        if exists(requests, id)? {
            ids.insert(id);
            last = last.max(id);
        }
    }
    Ok(ids)
}

fn message(attributes: Vec<NsidAttribute>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes = attributes;
    message
}
