//! Reading one slice of the snapshot again.

use std::collections::{BTreeMap, BTreeSet};

use super::roll::{self, Roll};
use super::shortfall::Shortfall;
use super::slice::Slice;
use super::state::State;
use crate::kernel::object::{address, neighbour, netns, route, rule, sysctl, table};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::model::snapshot::{Netns, Sysctls};
use crate::model::{LinkIndex, NetnsId};

impl State {
    /// Reads a slice. If that fails, the snapshot keeps its former state.
    pub(in crate::kernel) fn read(
        &mut self,
        requests: &mut Requests,
        slice: Slice,
    ) -> Result<(), RequestError> {
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
                self.tables = table::read(requests, &self.tables, self.exempt)?;
                Ok(())
            }
            Slice::Filter => {
                self.filters.want(self.stale.now());
                Ok(())
            }
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

    fn read_host(&mut self) -> Result<(), RequestError> {
        let host =
            sysctl::host(&self.snapshot.host).map_err(|error| RequestError::Broken(error.to_string()))?;
        self.changes.all |= host != self.snapshot.host;
        self.snapshot.host = host;
        Ok(())
    }

    fn read_links(&mut self, requests: &mut Requests) -> Result<(), RequestError> {
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

    fn read_addresses(&mut self, requests: &mut Requests) -> Result<(), RequestError> {
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

    fn read_routes(&mut self, requests: &mut Requests) -> Result<(), RequestError> {
        let route::Routes { routes, routing, next_hops, .. } = route::dump(requests)?;
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

    fn read_neighbours(&mut self, requests: &mut Requests) -> Result<(), RequestError> {
        let neighbour::Entries { kept: found, exempt } = neighbour::dump(requests)?;
        self.exempt = exempt;
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

    fn read_settings(&mut self) -> Result<(), RequestError> {
        if self.snapshot.host.sysctls == Sysctls::Missing {
            return Ok(());
        }
        let mut settings = BTreeMap::new();
        for (_, shim) in self.snapshot.shims() {
            let values =
                sysctl::read_all(&shim.name).map_err(|error| RequestError::Broken(error.to_string()))?;
            settings.extend(values.map(|values| (shim.index, values)));
        }
        if settings != self.snapshot.settings {
            self.changes.all = true;
            self.snapshot.settings = settings;
            // The kernel reports an address that it made itself only after the address has settled.
            self.stale.add(Slice::Addresses);
        }
        Ok(())
    }

    fn read_namespaces(&mut self, requests: &mut Requests) -> Result<(), RequestError> {
        let known = self.namespaces();
        let mut ids = netns::dump(requests, &known)?;
        ids.remove(&self.own_id);
        known.difference(&ids).for_each(|id| self.drop_namespace(*id));
        ids.into_iter().for_each(|id| self.stale.sweep(Slice::Namespace(id)));
        Ok(())
    }

    fn read_homes(&mut self, requests: &mut Requests) -> Result<(), RequestError> {
        let mut homes = BTreeMap::new();
        for home in &self.wanted_homes {
            let id = netns::of_home(requests, home)?.filter(|id| *id != self.own_id);
            homes.extend(id.map(|id| (home.clone(), Netns::Id(id))));
        }
        self.changes.all |= homes != self.snapshot.homes;
        self.snapshot.homes = homes;
        Ok(())
    }

    /// Reads a slice of a namespace. If the read fails because the namespace is gone, that is no failure, and
    /// everything that was known of the namespace is dropped.
    fn unless_gone(
        &mut self,
        requests: &mut Requests,
        id: NetnsId,
        read: impl FnOnce(&mut State, &mut Requests) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let Err(error) = read(self, requests) else { return Ok(()) };
        if error.errno().is_some() && !netns::exists(requests, id)? {
            self.drop_namespace(id);
            return Ok(());
        }
        Err(error)
    }
}
