//! Reading one slice of the snapshot anew.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::AddressFamily;
use nix::errno::Errno;

use super::error::Fault;
use super::request::Requests;
use super::roll::{self, Roll};
use super::shortfall::{ADDRESSES, CHILDREN, Shortfall};
use super::slice::Slice;
use super::state::State;
use super::{address, link, neighbour, netns, route, rule, setting, table};
use crate::model::snapshot::{Child, ChildKey, Filter, Master, Netns, Sysctls};
use crate::model::{Family, LinkIndex, NetnsId};

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
            Slice::Homes => self.read_homes(requests),
            Slice::Namespace(id) => self.unless_gone(requests, id, |state, requests| {
                let (found, shortfall) = state.children(requests, id)?;
                state.put_namespace(id, found);
                state.put_shortfall(Netns::Id(id), shortfall);
                Ok(())
            }),
            Slice::Child(id, index) => {
                self.unless_gone(requests, id, |state, requests| state.read_child(requests, id, index))
            }
            Slice::ChildAddresses(id, index, family) => self.unless_gone(requests, id, |state, requests| {
                state.read_child_addresses(requests, id, index, family)
            }),
        }
    }

    fn read_host(&mut self) -> Result<(), Fault> {
        let host = setting::host(&self.snapshot.host).map_err(|error| Fault::Broken(error.to_string()))?;
        self.changes.all |= host != self.snapshot.host;
        self.snapshot.host = host;
        Ok(())
    }

    fn read_links(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let known: BTreeSet<LinkIndex> = self.snapshot.links.keys().copied().collect();
        let Roll { links, unreadable, .. } = roll::of_host(requests, &known)?;
        let there: BTreeSet<LinkIndex> =
            links.iter().map(|seen| seen.index).chain(unreadable.keys().copied()).collect();
        known.difference(&there).for_each(|index| self.drop_link(*index));
        for seen in links {
            self.put_link(seen);
        }
        self.put_shortfall(Netns::Host, Shortfall { unreadable, ..Shortfall::default() });
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
        let links: Vec<LinkIndex> = self.snapshot.links.keys().copied().collect();
        links.into_iter().for_each(|index| self.host_child(index));
        Ok(())
    }

    fn read_routes(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let route::Table { routes, routing, next_hops, .. } = route::dump(requests)?;
        self.next_hops = next_hops;
        let snapshot = &mut self.snapshot;
        let old = std::mem::replace(&mut snapshot.routes, routes);
        for (key, new) in &snapshot.routes {
            self.changes.route(key, old.get(key), Some(new));
        }
        for (key, old) in old.iter().filter(|(key, _)| !snapshot.routes.contains_key(key)) {
            self.changes.route(key, Some(old), None);
        }
        if routing != snapshot.routing {
            let old = std::mem::replace(&mut snapshot.routing, routing);
            for (key, way) in snapshot.routing.iter() {
                self.changes.way(key, old.get(key), Some(way));
            }
            for (key, way) in old.iter().filter(|(key, _)| snapshot.routing.get(key).is_none()) {
                self.changes.way(key, Some(way), None);
            }
        }
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
        if self.snapshot.host.sysctls == Sysctls::Missing {
            return Ok(());
        }
        let mut settings = BTreeMap::new();
        for (_, shim) in self.snapshot.shims() {
            let values = setting::read_all(&shim.name).map_err(|error| Fault::Broken(error.to_string()))?;
            settings.extend(values.map(|values| (shim.index, values)));
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
            Err(fault) => (Filter { usable: false, lacks: None, ..before.clone() }, Err(fault)),
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

    fn read_homes(&mut self, requests: &mut Requests) -> Result<(), Fault> {
        let mut homes = BTreeMap::new();
        for home in &self.wanted_homes {
            let id = netns::of_home(requests, home)?.filter(|id| *id != self.own_id);
            homes.extend(id.map(|id| (home.clone(), Netns::Id(id))));
        }
        self.changes.all |= homes != self.snapshot.homes;
        self.snapshot.homes = homes;
        Ok(())
    }

    fn read_child(&mut self, requests: &mut Requests, id: NetnsId, index: LinkIndex) -> Result<(), Fault> {
        let key = ChildKey { netns: Netns::Id(id), index };
        let known = self.snapshot.children.contains_key(&key);
        let mut room = self.room_beside(key);
        let child = match link_in(requests, id, index) {
            Ok(Some(seen)) => whole_child(requests, id, &seen, self.own_id, &mut room)?,
            Ok(None) => None,
            // What else there is in the namespace tells whether something is left out.
            Err(fault) if fault.is_of_object() => {
                self.marks.mark(Slice::Namespace(id));
                return Ok(());
            }
            Err(fault) => return Err(fault),
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

    fn read_child_addresses(
        &mut self,
        requests: &mut Requests,
        id: NetnsId,
        index: LinkIndex,
        family: Family,
    ) -> Result<(), Fault> {
        let key = ChildKey { netns: Netns::Id(id), index };
        let Some(mut child) = self.snapshot.children.get(&key).cloned() else { return Ok(()) };
        child.addresses.retain(|address, _| Family::of(*address) != family);
        let mut room = self.room_beside(key).saturating_sub(child.addresses.len());
        let child = with_addresses(requests, id, index, child, family.into(), &mut room)?;
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
        id: NetnsId,
        read: impl FnOnce(&mut State, &mut Requests) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Err(fault) = read(self, requests) else { return Ok(()) };
        if fault.errno().is_some() && !netns::exists(requests, id)? {
            self.drop_namespace(id);
            return Ok(());
        }
        Err(fault)
    }

    /// The children in a namespace whose parents are links of the host; of a guest that makes more than any needs, the
    /// first. A child that cannot be read (any more) is as it was, with the addresses that it has now.
    fn children(
        &self,
        requests: &mut Requests,
        id: NetnsId,
    ) -> Result<(BTreeMap<LinkIndex, Child>, Shortfall), Fault> {
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

/// A link of a guest as a child, with its master and the addresses of both; `None` if it is none, or has gone meanwhile.
fn whole_child(
    requests: &mut Requests,
    id: NetnsId,
    seen: &link::Seen,
    own_id: NetnsId,
    room: &mut usize,
) -> Result<Option<Child>, Fault> {
    let Some(mut child) = child(seen, own_id) else { return Ok(None) };
    if let Some(index) = master_of(seen) {
        child.master = match link_in(requests, id, index) {
            Ok(seen) => seen.and_then(master),
            Err(fault) if fault.is_of_object() => None,
            Err(fault) => return Err(fault),
        };
    }
    with_addresses(requests, id, seen.index, child, AddressFamily::Unspec, room)
}

/// A link of a guest, if it is still there.
fn link_in(requests: &mut Requests, id: NetnsId, index: LinkIndex) -> Result<Option<link::Seen>, Fault> {
    match link::with_index(requests, Some(id), index) {
        Ok(seen) => Ok(Some(seen)),
        Err(Fault::Refused { errno: Errno::ENODEV, .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The ifindex of the link that a port hands what comes to.
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

/// The child with the present addresses of the family, its own and its master's, as well; `None` if it has gone
/// meanwhile. `room`: so many are looked at, and so many more could have been.
fn with_addresses(
    requests: &mut Requests,
    id: NetnsId,
    index: LinkIndex,
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
