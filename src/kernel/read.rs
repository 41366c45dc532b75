//! Reading one slice of the snapshot anew.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::AddressFamily;
use nix::errno::Errno;

use super::error::Fault;
use super::request::Requests;
use super::slice::Slice;
use super::state::State;
use super::{address, link, neighbour, netns, route, rule, setting, table};
use crate::model::snapshot::{Child, ChildKey, Filter, Master, Netns};

/// So many children of one namespace are kept …
const CHILDREN: usize = 256;

/// … and so many addresses of all of them are looked at.
const ADDRESSES: usize = 1024;

impl State {
    /// Reads a slice. If that fails, what was known of it stays.
    pub(super) fn read(&mut self, requests: &mut Requests, slice: Slice) -> Result<(), Fault> {
        match slice {
            Slice::Host => self.read_host(),
            Slice::Links => self.read_links(requests),
            Slice::Addresses => self.read_addresses(requests),
            Slice::Routes => self.read_routes(requests),
            Slice::Rules => {
                let rules = rule::dump(requests)?;
                self.changes.all |= rules != self.snapshot.rules;
                self.snapshot.rules = rules;
                Ok(())
            }
            Slice::Neighbours => self.read_neighbours(requests),
            Slice::Proxies => {
                let proxies = neighbour::dump_proxies(requests)?;
                self.changes.all |= proxies != self.snapshot.proxies;
                self.snapshot.proxies = proxies;
                Ok(())
            }
            Slice::Settings => self.read_settings(),
            Slice::Tables => {
                self.tables = table::read(requests, &self.tables)?;
                Ok(())
            }
            Slice::Filter => self.read_filter(),
            Slice::Namespaces => self.read_namespaces(requests),
            Slice::Inits => self.read_inits(requests),
            Slice::Namespace(id) => self.unless_gone(requests, id, |state, requests| {
                let found = children(requests, id, state.own_id)?;
                state.put_namespace(id, found);
                Ok(())
            }),
            Slice::Child(id, index) => {
                self.unless_gone(requests, id, |state, requests| state.read_child(requests, id, index))
            }
            Slice::ChildAddresses(id, index, ipv6) => self.unless_gone(requests, id, |state, requests| {
                state.read_child_addresses(requests, id, index, ipv6)
            }),
        }
    }

    fn read_host(&mut self) -> Result<(), Fault> {
        let host = setting::host().map_err(|error| Fault::Broken(error.to_string()))?;
        self.changes.all |= host != self.snapshot.host;
        self.snapshot.host = host;
        Ok(())
    }

    fn read_links(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let found = link::dump(requests)?;
        let indexes: BTreeSet<u32> = found.iter().map(|seen| seen.index).collect();
        let gone: Vec<u32> =
            self.snapshot.links.keys().filter(|index| !indexes.contains(index)).copied().collect();
        for index in gone {
            self.drop_link(index);
        }
        for seen in found {
            self.put_link(seen);
        }
        Ok(())
    }

    fn read_addresses(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let found = address::dump(requests)?;
        self.shows_address_protocol |= found.iter().any(|seen| seen.protocol.is_some());
        let addresses: BTreeMap<_, _> = found
            .iter()
            .filter(|seen| self.keeps(seen))
            .map(|seen| (seen.key, self.host_address(seen)))
            .collect();
        if addresses == self.snapshot.addresses {
            return Ok(());
        }
        self.snapshot.addresses = addresses;
        self.changes.all = true;
        let links: Vec<u32> = self.snapshot.links.keys().copied().collect();
        links.into_iter().for_each(|index| self.host_child(index));
        Ok(())
    }

    fn read_routes(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let route::Table { routes, next_hops, .. } = route::dump(requests)?;
        let snapshot = &mut self.snapshot;
        let old = std::mem::replace(&mut snapshot.routes, routes);
        for (key, new) in &snapshot.routes {
            self.changes.route(key, old.get(key), Some(new));
        }
        for (key, old) in old.iter().filter(|(key, _)| !snapshot.routes.contains_key(key)) {
            self.changes.route(key, Some(old), None);
        }
        self.changes.all |= next_hops != snapshot.next_hops;
        snapshot.next_hops = next_hops;
        Ok(())
    }

    fn read_neighbours(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let found = neighbour::dump(requests)?;
        let old = std::mem::take(&mut self.snapshot.neighbours);
        for (key, new) in &found {
            self.changes.neighbour(key.0, old.get(key), Some(new));
        }
        for (key, old) in old.iter().filter(|(key, _)| !found.contains_key(key)) {
            self.changes.neighbour(key.0, Some(old), None);
        }
        self.snapshot.neighbours = found;
        Ok(())
    }

    fn read_settings(&mut self) -> Result<(), Fault> {
        let mut settings = BTreeMap::new();
        for (_, shim) in self.snapshot.shims() {
            let values = setting::read_all(&shim.name).map_err(|error| Fault::Broken(error.to_string()))?;
            settings.insert(shim.index, values);
        }
        if settings != self.snapshot.settings {
            self.changes.all = true;
            self.snapshot.settings = settings;
            // The kernel tells of an address of its own making only when it has settled.
            self.marks.mark(Slice::Addresses);
        }
        Ok(())
    }

    /// What nft cannot read it cannot write either: nothing is decided on a filter that is not known.
    fn read_filter(&mut self) -> Result<(), Fault> {
        let before = &self.snapshot.filter;
        let (filter, result) = match self.filters.read(before) {
            Ok(filter) => (filter, Ok(())),
            Err(fault) => (Filter { usable: false, lacks: None, shims: before.shims.clone() }, Err(fault)),
        };
        self.changes.all |= filter != self.snapshot.filter;
        self.snapshot.filter = filter;
        result
    }

    fn read_namespaces(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let known = self.namespaces();
        let mut ids = netns::dump(requests, &known)?;
        ids.remove(&self.own_id);
        known.difference(&ids).for_each(|id| self.drop_namespace(*id));
        ids.into_iter().for_each(|id| self.marks.sweep(Slice::Namespace(id)));
        Ok(())
    }

    fn read_inits(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let mut inits = BTreeMap::new();
        for pid in &self.wanted_inits {
            let id = netns::of_process(requests, *pid)?.filter(|id| *id != self.own_id);
            inits.extend(id.map(|id| (*pid, Netns::Id(id))));
        }
        self.changes.all |= inits != self.snapshot.inits;
        self.snapshot.inits = inits;
        Ok(())
    }

    fn read_child(&mut self, requests: &mut Requests, id: i32, index: u32) -> Result<(), Fault> {
        let key = ChildKey { netns: Netns::Id(id), index };
        let child = match link_in(requests, id, index)? {
            Some(seen) => whole_child(requests, id, &seen, self.own_id, &mut self.room_beside(key))?,
            None => None,
        };
        let known = self.snapshot.children.contains_key(&key);
        let child = child.filter(|_| known || self.children_in(id).count() < CHILDREN);
        self.put_child(key, child);
        Ok(())
    }

    fn read_child_addresses(
        &mut self,
        requests: &mut Requests,
        id: i32,
        index: u32,
        ipv6: bool,
    ) -> Result<(), Fault> {
        let key = ChildKey { netns: Netns::Id(id), index };
        let Some(mut child) = self.snapshot.children.get(&key).cloned() else { return Ok(()) };
        child.addresses.retain(|address, _| address.addr().is_ipv6() != ipv6);
        let family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let mut room = self.room_beside(key).saturating_sub(child.addresses.len());
        let child = with_addresses(requests, id, index, child, family, &mut room)?;
        self.put_child(key, child);
        Ok(())
    }

    /// How many addresses of a child are looked at, given those of the others in its namespace.
    fn room_beside(&self, key: ChildKey) -> usize {
        let Netns::Id(id) = key.netns else { return 0 };
        let others = self.children_in(id).filter(|other| **other != key);
        let taken = others.filter_map(|other| self.snapshot.children.get(other));
        ADDRESSES.saturating_sub(taken.map(|child| child.addresses.len()).sum())
    }

    /// Reads something in a namespace. If it fails because the namespace is gone, that is no failure: all
    /// that was known of it is dropped.
    fn unless_gone(
        &mut self,
        requests: &mut Requests,
        id: i32,
        read: impl FnOnce(&mut State, &mut Requests) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Err(fault) = read(self, requests) else { return Ok(()) };
        if fault.errno().is_some() && !netns::exists(requests, id)? {
            self.drop_namespace(id);
            return Ok(());
        }
        Err(fault)
    }
}

/// The children in a namespace whose parents are links of the host; of a guest that makes more than any
/// needs, the first.
fn children(requests: &mut Requests, id: i32, own_id: i32) -> Result<BTreeMap<u32, Child>, Fault> {
    let (mut found, mut room) = (BTreeMap::new(), ADDRESSES);
    for seen in link::of_guest(requests, id)? {
        if found.len() < CHILDREN {
            let child = whole_child(requests, id, &seen, own_id, &mut room)?;
            found.extend(child.map(|child| (seen.index, child)));
        }
    }
    Ok(found)
}

/// A link of a guest as a child, with its master and the addresses of both; `None` if it is none, or has gone meanwhile.
fn whole_child(
    requests: &mut Requests,
    id: i32,
    seen: &link::Seen,
    own_id: i32,
    room: &mut usize,
) -> Result<Option<Child>, Fault> {
    let Some(mut child) = child(seen, own_id) else { return Ok(None) };
    if let Some(index) = master_of(seen) {
        child.master = link_in(requests, id, index)?.and_then(master);
    }
    with_addresses(requests, id, seen.index, child, AddressFamily::Unspec, room)
}

/// A link of a guest, if it is still there.
fn link_in(requests: &mut Requests, id: i32, index: u32) -> Result<Option<link::Seen>, Fault> {
    match link::with_index(requests, Some(id), index) {
        Ok(seen) => Ok(Some(seen)),
        Err(Fault::Refused { errno: Errno::ENODEV, .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The ifindex of the link that a port hands what comes to.
fn master_of(port: &link::Seen) -> Option<u32> {
    port.master.filter(|_| !port.backup)
}

fn master(seen: link::Seen) -> Option<Master> {
    seen.takes_in_for_ports().then_some(Master { index: seen.index, name: seen.name, mac: seen.mac })
}

fn child(seen: &link::Seen, own_id: i32) -> Option<Child> {
    let parent = seen.lower.filter(|_| seen.lower_netns == Some(own_id))?;
    Child::of_link(&seen.kind, parent, seen.mac?, &seen.name, seen.up)
}

/// The child with the present addresses of the family, its own and its master's, as well; `None` if it has gone
/// meanwhile. `room`: so many are looked at, and so many more could have been.
fn with_addresses(
    requests: &mut Requests,
    id: i32,
    index: u32,
    mut child: Child,
    family: AddressFamily,
    room: &mut usize,
) -> Result<Option<Child>, Fault> {
    let master = child.master.as_ref().map(|master| master.index);
    for link in std::iter::once(index).chain(master) {
        match address::of_child(requests, id, link, family, *room) {
            Ok(found) => {
                *room = room.saturating_sub(found.len());
                let kept = found.iter().filter(|seen| seen.is_kept());
                child.addresses.extend(kept.map(|seen| (seen.key.address, seen.guest())));
            }
            Err(Fault::Refused { errno: Errno::ENODEV, .. }) if link == index => return Ok(None),
            // An event about the child will tell.
            Err(Fault::Refused { errno: Errno::ENODEV, .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Some(child))
}
