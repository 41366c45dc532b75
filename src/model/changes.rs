//! The changes in a snapshot since the last look, which show the decisions that have to be made again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::NetnsId;
use super::routing::{RouteKey, Way, is_network};
use super::snapshot::{Child, ChildKey, Neighbour, Netns, Route};

/// Maximum number of destinations that are listed one by one. If more have changed, a full decision is
/// cheaper.
const DESTINATIONS: usize = 4096;

/// The objects whose values have changed. Events that repeat known values change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Something that any decision may depend on: links, addresses, the networks that links reach, rules,
    /// sysctls and the filter of the host, or the existence and properties of children.
    pub all: bool,
    /// The addresses with another neighbour entry, on any link of the host, or another host route of ours;
    /// and the gateways of routes that have changed.
    pub addresses: BTreeSet<IpAddr>,
    /// The destinations to which the host has other routes, without ours.
    pub destinations: BTreeSet<IpNet>,
    /// The children with other addresses. Other changes of children are in `all`.
    pub children: BTreeSet<ChildKey>,
    /// The children that are new. A server may be worth asking about them.
    pub new_children: BTreeSet<ChildKey>,
    /// The guests' namespaces in which something has changed. They are charged for the time that it costs.
    pub causes: BTreeSet<NetnsId>,
}

impl Changes {
    /// Nothing has changed.
    pub fn is_empty(&self) -> bool {
        !self.all && self.addresses.is_empty() && self.destinations.is_empty() && self.children.is_empty()
    }

    /// Adds the changes of another look.
    pub fn merge(&mut self, other: Changes) {
        self.all |= other.all;
        self.addresses.extend(other.addresses);
        other.destinations.into_iter().for_each(|destination| self.led(destination));
        self.children.extend(other.children);
        self.new_children.extend(other.new_children);
        self.causes.extend(other.causes);
    }

    /// Takes in that a neighbour entry for `address` is no longer `old` but `new`.
    pub fn neighbour(&mut self, address: IpAddr, old: Option<&Neighbour>, new: Option<&Neighbour>) {
        if old != new {
            self.addresses.insert(address);
        }
    }

    /// Takes in that a route is no longer `old` but `new`.
    pub fn route(&mut self, key: &RouteKey, old: Option<&Route>, new: Option<&Route>) {
        if old == new {
            return;
        }
        let ours = |route: &Route| route.ours;
        if [old, new].into_iter().flatten().any(|route| !ours(route)) {
            self.led(key.destination);
        }
        if [old, new].into_iter().flatten().any(ours) {
            match key.host() {
                Some(address) => drop(self.addresses.insert(address)),
                None => self.all = true,
            }
        }
    }

    /// Takes in that a route that is not ours no longer leads the way `old` but `new`.
    pub fn way(&mut self, key: &RouteKey, old: Option<&Way>, new: Option<&Way>) {
        if old == new {
            return;
        }
        self.led(key.destination);
        for way in [old, new].into_iter().flatten() {
            self.addresses.extend(way.hops.iter().filter_map(|hop| hop.gateway));
            self.all |= is_network(key) && way.direct().next().is_some();
        }
    }

    fn led(&mut self, destination: IpNet) {
        self.destinations.insert(destination);
        if self.destinations.len() > DESTINATIONS {
            self.destinations.clear();
            self.all = true;
        }
    }

    /// Takes in that a child is no longer `old` but `new`.
    pub fn child(&mut self, key: ChildKey, old: Option<&Child>, new: Option<&Child>) {
        if old == new {
            return;
        }
        if let Netns::Id(id) = key.netns {
            self.causes.insert(id);
        }
        match (old, new) {
            (Some(old), Some(new)) if old.is_same_but_for_addresses(new) => {
                self.children.insert(key);
            }
            _ => {
                self.all = true;
                if old.is_none() {
                    self.new_children.insert(key);
                }
            }
        }
    }
}
