//! Reading the children of one guest, with their masters and addresses.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::AddressFamily;
use nix::errno::Errno;

use super::roll::{self, Roll};
use super::shortfall::{ADDRESSES, CHILDREN, Shortfall};
use super::slice::Slice;
use super::state::State;
use crate::kernel::object::{address, link};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::model::snapshot::{Child, ChildKey, Master, Netns};
use crate::model::{Family, LinkIndex, NetnsId};

impl State {
    /// Reads one link in one namespace, with its master and the addresses of both if it is a child.
    pub(super) fn read_child(
        &mut self,
        requests: &mut Requests,
        id: NetnsId,
        index: LinkIndex,
    ) -> Result<(), RequestError> {
        let key = ChildKey { netns: Netns::Id(id), index };
        let known = self.snapshot.children.contains_key(&key);
        let mut room = self.room_beside(key);
        let child = match link_in(requests, id, index) {
            Ok(Some(seen)) => whole_child(requests, id, &seen, self.own_id, &mut room)?,
            Ok(None) => None,
            // Only the whole namespace shows whether anything is left out.
            Err(error) if error.is_of_object() => {
                self.stale.add(Slice::Namespace(id));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let full = child.is_some() && !known && self.children_in(id).count() >= CHILDREN;
        if full || room == 0 {
            let mut shortfall = self.shortfalls.get(&key.netns).cloned().unwrap_or_default();
            shortfall.children |= full;
            shortfall.addresses |= room == 0;
            self.put_shortfall(key.netns, shortfall);
        }
        self.put_child(key, child.filter(|_| !full));
        Ok(())
    }

    /// Reads the addresses of one family of a child and its master.
    pub(super) fn read_child_addresses(
        &mut self,
        requests: &mut Requests,
        id: NetnsId,
        index: LinkIndex,
        family: Family,
    ) -> Result<(), RequestError> {
        let key = ChildKey { netns: Netns::Id(id), index };
        let Some(mut child) = self.snapshot.children.get(&key).cloned() else { return Ok(()) };
        child.addresses.retain(|address, _| Family::of(*address) != family);
        let mut room = self.room_beside(key).saturating_sub(child.addresses.len());
        let child = with_addresses(requests, id, index, child, family.into(), &mut room)?;
        self.put_child(key, child);
        Ok(())
    }

    /// Maximum number of addresses of a child that are looked at, given those of the others in its namespace.
    fn room_beside(&self, key: ChildKey) -> usize {
        let Netns::Id(id) = key.netns else { return 0 };
        let others = self.children_in(id).filter(|other| **other != key);
        let taken = others.filter_map(|other| self.snapshot.children.get(other));
        ADDRESSES.saturating_sub(taken.map(|child| child.addresses.len()).sum())
    }

    /// The children in a namespace whose parents are links of the host. If a guest makes more than any guest
    /// needs, only the first are taken. A child that cannot be read (any more) stays as it was, with the
    /// addresses that it has now.
    pub(super) fn children(
        &self,
        requests: &mut Requests,
        id: NetnsId,
    ) -> Result<(BTreeMap<LinkIndex, Child>, Shortfall), RequestError> {
        let (mut found, mut room) = (BTreeMap::new(), ADDRESSES);
        let known: BTreeSet<LinkIndex> = self.children_in(id).map(|key| key.index).collect();
        let Roll { links, unreadable, cut } = roll::of_guest(requests, id, &known)?;
        let mut shortfall = Shortfall { links: cut, ..Shortfall::default() };
        for index in unreadable.keys() {
            let Some(child) = self.snapshot.children.get(&ChildKey { netns: Netns::Id(id), index: *index })
            else {
                continue;
            };
            let child = Child { addresses: BTreeMap::new(), ..child.clone() };
            let child = with_addresses(requests, id, *index, child, AddressFamily::Unspec, &mut room)?;
            found.extend(child.map(|child| (*index, child)));
        }
        for seen in links {
            if found.len() < CHILDREN {
                let child = whole_child(requests, id, &seen, self.own_id, &mut room)?;
                found.extend(child.map(|child| (seen.index, child)));
            } else {
                shortfall.children |= child(&seen, self.own_id).is_some();
            }
        }
        shortfall.addresses = room == 0;
        shortfall.unreadable = unreadable;
        Ok((found, shortfall))
    }
}

/// A link of a guest as a child, with its master and the addresses of both. `None` if it is not a child, or
/// has gone meanwhile.
fn whole_child(
    requests: &mut Requests,
    id: NetnsId,
    seen: &link::Seen,
    own_id: NetnsId,
    room: &mut usize,
) -> Result<Option<Child>, RequestError> {
    let Some(mut child) = child(seen, own_id) else { return Ok(None) };
    if let Some(index) = master_of(seen) {
        child.master = match link_in(requests, id, index) {
            Ok(seen) => seen.and_then(master),
            Err(error) if error.is_of_object() => None,
            Err(error) => return Err(error),
        };
    }
    with_addresses(requests, id, seen.index, child, AddressFamily::Unspec, room)
}

/// A link of a guest, if it is still there.
fn link_in(
    requests: &mut Requests,
    id: NetnsId,
    index: LinkIndex,
) -> Result<Option<link::Seen>, RequestError> {
    match link::with_index(requests, Some(id), index) {
        Ok(seen) => Ok(Some(seen)),
        Err(RequestError::Refused { errno: Errno::ENODEV, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The ifindex of the link that a port hands its frames to.
fn master_of(port: &link::Seen) -> Option<LinkIndex> {
    port.master.filter(|_| !port.backup)
}

fn master(seen: link::Seen) -> Option<Master> {
    seen.takes_in_for_ports().then_some(Master { index: seen.index, name: seen.name, mac: seen.mac })
}

fn child(seen: &link::Seen, own_id: NetnsId) -> Option<Child> {
    let parent = seen.lower.filter(|_| seen.lower_netns == Some(own_id))?;
    let child = Child::of_link(&seen.kind, parent, seen.mac?, &seen.name, seen.up)?;
    Some(Child { sources: seen.sources.clone(), ..child })
}

/// The child with the present addresses of the family, its own and its master's. `None` if it has gone
/// meanwhile. `room`: the maximum number of addresses that are looked at. It is reduced by those that were.
fn with_addresses(
    requests: &mut Requests,
    id: NetnsId,
    index: LinkIndex,
    mut child: Child,
    family: AddressFamily,
    room: &mut usize,
) -> Result<Option<Child>, RequestError> {
    let master = child.master.as_ref().map(|master| master.index);
    for link in std::iter::once(index).chain(master) {
        match address::of_child(requests, id, link, family, *room) {
            Ok(found) => {
                *room = room.saturating_sub(found.len());
                let kept = found.iter().filter(|seen| seen.is_kept());
                child.addresses.extend(kept.map(|seen| (seen.key.address, seen.guest())));
            }
            Err(RequestError::Refused { errno: Errno::ENODEV, .. }) if link == index => return Ok(None),
            // An event about the child will follow.
            Err(RequestError::Refused { errno: Errno::ENODEV, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(child))
}
