//! Network namespaces by the ids that the host's namespace has given them.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use nix::errno::Errno;

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{Attributes, MalformedError, Message, netns_of};
use crate::model::NetnsId;
use crate::model::inventory::Home;

/// Length below which a list of ids is certainly complete. The kernel's dump ends early, with its first
/// datagram: after the lowest 134 ids on Linux 6.18, or more if a larger datagram was read before.
const SURELY_WHOLE: usize = 100;

/// Number of free ids in a row after which only known ids follow. The kernel gives the lowest free id (FACTS
/// 62), but anybody may choose another (`ip netns set`).
const GAP: i32 = 64;

/// The same if no id is known yet, because many guests may have stopped together. Asking for this many takes
/// 20 ms, which is too long for each loss of events.
const FIRST_GAP: i32 = 1024;

/// Reads `RTM_NEWNSID` and `RTM_DELNSID`: the id, -1 if the namespace has none.
pub(in crate::kernel) fn read(message: &Message<'_>) -> Result<Option<NetnsId>, MalformedError> {
    const HEADER: usize = 4;
    const NETNSA_NSID: u16 = 1;
    for attribute in Attributes::after(message.payload, HEADER) {
        if let (NETNSA_NSID, value) = attribute? {
            return netns_of(value).map(Some);
        }
    }
    Ok(None)
}

/// The id of the host's namespace in its own table. The kernel gives it as the place of children's parents. A
/// namespace without an id gets one.
pub(in crate::kernel) fn own(requests: &mut Requests) -> Result<NetnsId, RequestError> {
    // This is the thread's id and not the process's, because tests have threads in namespaces of their own.
    let pid = NsidAttribute::Pid(nix::unistd::gettid().as_raw().unsigned_abs());
    let known = requests.ask(RouteNetlinkMessage::GetNsId(message(vec![pid.clone()])), read)?;
    if known >= NetnsId::FIRST {
        return Ok(known);
    }
    let any = NsidAttribute::Id(-1);
    match requests.order(RouteNetlinkMessage::NewNsId(message(vec![pid.clone(), any])), 0) {
        Ok(()) | Err(RequestError::Refused { errno: Errno::EEXIST, .. }) => {}
        Err(error) => return Err(error),
    }
    requests.ask(RouteNetlinkMessage::GetNsId(message(vec![pid])), read)
}

/// The id of the namespace of a guest. `None` if there is no such process or file, or if its namespace has no
/// id.
pub(in crate::kernel) fn of_home(
    requests: &mut Requests,
    home: &Home,
) -> Result<Option<NetnsId>, RequestError> {
    // Open until the kernel has answered.
    let file;
    let namespace = match home {
        Home::Pid(pid) => NsidAttribute::Pid(*pid),
        Home::File(path) => {
            // It does not wait for the other end if it is a pipe.
            let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
            let Ok(opened) = opened else { return Ok(None) };
            file = opened;
            NsidAttribute::Fd(file.as_raw_fd().unsigned_abs())
        }
        Home::Unknown => return Ok(None),
    };
    match requests.ask(RouteNetlinkMessage::GetNsId(message(vec![namespace])), read) {
        Ok(id) => Ok(Some(id).filter(|id| *id >= NetnsId::FIRST)),
        // The last error means that a file is not a namespace.
        Err(RequestError::Refused { errno: Errno::ESRCH | Errno::ENOENT | Errno::EINVAL, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is a namespace with that id.
pub(in crate::kernel) fn exists(requests: &mut Requests, id: NetnsId) -> Result<bool, RequestError> {
    let question = RouteNetlinkMessage::GetNsId(message(vec![NsidAttribute::Id(id.0)]));
    match requests.ask(question, read) {
        Ok(found) => Ok(found == id),
        Err(RequestError::Refused { errno: Errno::ENOENT, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// All ids. `known`: those that were known before.
pub(in crate::kernel) fn dump(
    requests: &mut Requests,
    known: &BTreeSet<NetnsId>,
) -> Result<BTreeSet<NetnsId>, RequestError> {
    let question = RouteNetlinkMessage::GetNsId(message(vec![]));
    let mut ids = requests.dump(question, |list: &mut BTreeSet<NetnsId>, message| {
        list.extend(read(message)?.filter(|id| *id >= NetnsId::FIRST));
        Ok(())
    })?;
    if ids.len() >= SURELY_WHOLE {
        let more = unlisted(&ids, known, |id| exists(requests, id))?;
        ids.extend(more);
    }
    Ok(ids)
}

/// The ids that a list of the lowest may lack: known ones that still exist, and those that follow.
fn unlisted(
    listed: &BTreeSet<NetnsId>,
    known: &BTreeSet<NetnsId>,
    mut exists: impl FnMut(NetnsId) -> Result<bool, RequestError>,
) -> Result<BTreeSet<NetnsId>, RequestError> {
    let mut found = BTreeSet::new();
    for id in known.difference(listed) {
        if exists(*id)? {
            found.insert(*id);
        }
    }
    let gap = if known.is_empty() { FIRST_GAP } else { GAP };
    let mut last = listed.last().map_or(-1, |id| id.0);
    let mut id = last;
    while id < i32::MAX && id - last < gap {
        id += 1;
        if found.contains(&NetnsId(id)) || exists(NetnsId(id))? {
            found.insert(NetnsId(id));
            last = id;
        }
    }
    Ok(found)
}

fn message(attributes: Vec<NsidAttribute>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes = attributes;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids found beyond a list of 0 to 133, given the known and the existing ones, and the number of
    /// questions.
    fn found(known: &[i32], there: &[i32]) -> (Vec<i32>, usize) {
        let mut asked = 0;
        let exists = |id: NetnsId| {
            asked += 1;
            Ok(there.contains(&id.0))
        };
        let known = known.iter().copied().map(NetnsId).collect();
        let found = unlisted(&(0..134).map(NetnsId).collect(), &known, exists).unwrap();
        (found.into_iter().map(|id| id.0).collect(), asked)
    }

    #[test]
    fn ids_beyond_a_list_that_ended_early_are_found() {
        let there: Vec<i32> = (134..160).chain(200..250).collect();
        assert_eq!(found(&[5], &there).0, there);
        assert_eq!(found(&[], &[134 + 1000]).0, [134 + 1000]);
        // Many have gone and left a gap before the known ones.
        assert_eq!(found(&[150, 400, 401], &[400, 401]).0, [400, 401]);
    }

    #[test]
    fn an_id_far_beyond_the_others_is_not_counted_up_to() {
        for far in [2_000_000_000, i32::MAX] {
            let (ids, asked) = found(&[far], &[134, far]);
            assert!(ids == [134, far] && asked < 100, "{ids:?}, {asked}");
        }
        let all = unlisted(&[NetnsId::LAST].into(), &[NetnsId::LAST].into(), |_| Ok(true)).unwrap();
        assert!(all.is_empty(), "{all:?}");
    }
}
