//! The existing links, even if the kernel's own list lacks some.
//!
//! If a link does not fit into the datagram that the kernel allocated, a dump of links ends early and is
//! called complete. In the host's namespace this happens if a link comes in while the dump runs. In a guest's
//! it happens with every link of more than 32 KiB, because the kernel takes the size from the links of the
//! asker's namespace. Root in a guest can make such links (alternative names, MACs of a macvlan link in mode
//! source, priorities of a VLAN link). When the guest stops, its NIC returns to the host as large as it is.
//!
//! So a second list, of small objects that every link has (FACTS 36, 43), shows which links the first one
//! lacks. Each of those is asked for individually, and so is each link that was known before. A link is gone
//! only when the kernel says so.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use nix::libc;

use crate::kernel::object::link::{self, LINKS};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::raw::Raw;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{Attributes, MalformedError, Message, link_at, netns_of};
use crate::model::{LinkIndex, NetnsId};

/// Maximum number of links of a guest that are asked for individually.
const SINGLY: usize = 64;

/// Maximum number of group memberships and addresses of a guest that are looked at to find its links. Every
/// link is in two groups from the start.
const SMALL_OBJECTS: usize = 4 * LINKS;

/// The links of a namespace.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kernel) struct Roll {
    /// The links that could be read.
    pub(in crate::kernel) links: Vec<link::Seen>,
    /// The ifindexes of the links that exist but cannot be read, with the errors.
    pub(in crate::kernel) unreadable: BTreeMap<LinkIndex, String>,
    /// There are more links than were looked at.
    pub(in crate::kernel) cut: bool,
}

/// All links of the host. `known`: the links that were known before.
pub(in crate::kernel) fn of_host(
    requests: &mut Requests,
    known: &BTreeSet<LinkIndex>,
) -> Result<Roll, RequestError> {
    let mut roll = Roll { links: link::dump(requests)?, ..Roll::default() };
    let there: BTreeSet<LinkIndex> =
        requests.dump(statistics(), |list: &mut BTreeSet<LinkIndex>, message| {
            list.insert(link_at(message.payload, 4)?);
            Ok(())
        })?;
    let lacking: Vec<LinkIndex> = roll.lacks(there.union(known).copied());
    roll.ask_for(requests, None, lacking)?;
    Ok(roll)
}

/// The links of a guest that may be children, and all others unless it has more than any guest needs.
pub(in crate::kernel) fn of_guest(
    requests: &mut Requests,
    netns: NetnsId,
    known: &BTreeSet<LinkIndex>,
) -> Result<Roll, RequestError> {
    let mut roll = Roll { links: link::of_guest(requests, netns)?, ..Roll::default() };
    roll.cut = roll.links.len() >= LINKS;
    let mut there = known.clone();
    for (kind, family) in [(RTM_GETMULTICAST, libc::AF_INET6), (libc::RTM_GETADDR, libc::AF_UNSPEC)] {
        match indexes(requests, small_objects(kind, family as u8, netns), netns) {
            Ok(found) => there.extend(found),
            // A kernel without IPv6.
            Err(RequestError::Refused { errno: Errno::EOPNOTSUPP, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    // If not all links were looked at, those that are missing here usually do not matter.
    let mut lacking = roll.lacks(there.into_iter().filter(|index| !roll.cut || known.contains(index)));
    roll.cut |= lacking.len() > SINGLY;
    lacking.truncate(SINGLY);
    roll.ask_for(requests, Some(netns), lacking)?;
    Ok(roll)
}

impl Roll {
    fn lacks(&self, indexes: impl Iterator<Item = LinkIndex>) -> Vec<LinkIndex> {
        let listed: BTreeSet<LinkIndex> = self.links.iter().map(|seen| seen.index).collect();
        indexes.filter(|index| !listed.contains(index)).collect()
    }

    fn ask_for(
        &mut self,
        requests: &mut Requests,
        netns: Option<NetnsId>,
        lacking: Vec<LinkIndex>,
    ) -> Result<(), RequestError> {
        for index in lacking {
            match link::with_index(requests, netns, index) {
                Ok(seen) => self.links.push(seen),
                Err(RequestError::Refused { errno: Errno::ENODEV, .. }) => {}
                Err(error) if error.is_of_object() => drop(self.unreadable.insert(index, error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn indexes(
    requests: &mut Requests,
    question: Raw,
    netns: NetnsId,
) -> Result<BTreeSet<LinkIndex>, RequestError> {
    requests.dump_of_guest(question, SMALL_OBJECTS, |list: &mut BTreeSet<LinkIndex>, message| {
        list.insert(index_of(message, netns)?);
        Ok(())
    })
}

/// The link of a `struct ifaddrmsg`, if it is about that namespace.
fn index_of(message: &Message<'_>, netns: NetnsId) -> Result<LinkIndex, MalformedError> {
    for attribute in Attributes::after(message.payload, ADDRESS_HEADER) {
        if let (IFA_TARGET_NETNSID, value) = attribute?
            && netns_of(value)? == netns
        {
            return link_at(message.payload, 4);
        }
    }
    Err(MalformedError("objects of another namespace than the one asked for"))
}

const RTM_GETMULTICAST: u16 = 58;
const IFA_TARGET_NETNSID: u16 = 10;

/// Length of `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;

/// Every link of the host's namespace, in 16 bytes each: a `struct if_stats_msg` that asks for statistics
/// which links have only with MPLS.
fn statistics() -> Raw {
    const RTM_GETSTATS: u16 = 94;
    /// `IFLA_STATS_AF_SPEC`
    const AF_SPEC: u32 = 1 << 4;
    Raw { kind: RTM_GETSTATS, body: [[0; 8].as_slice(), &AF_SPEC.to_ne_bytes()].concat() }
}

/// The objects that links in a guest's namespace have: a `struct ifaddrmsg` and the namespace.
fn small_objects(kind: u16, family: u8, netns: NetnsId) -> Raw {
    let mut header = [0; ADDRESS_HEADER];
    header[0] = family;
    let attribute = [8u16.to_ne_bytes(), IFA_TARGET_NETNSID.to_ne_bytes()].concat();
    Raw { kind, body: [header.as_slice(), &attribute, &netns.0.to_ne_bytes()].concat() }
}
