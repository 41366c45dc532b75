//! What a look at the kernel has changed in the snapshot.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::snapshot::ChildKey;

/// What is not as it was, by value: events that repeat what is known change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Anything of the host: facts, links, addresses, routes, next hops, rules, neighbours, proxies,
    /// settings.
    pub host: bool,
    /// Something of the host other than neighbour entries: `host` without this means that only entries
    /// for `neighbours` have changed, which concerns nobody but the NICs that claim those addresses.
    pub beyond_neighbours: bool,
    /// The addresses whose neighbour entries have changed, on any link of the host.
    pub neighbours: BTreeSet<IpAddr>,
    /// The children that appeared, changed or went.
    pub children: BTreeSet<ChildKey>,
    /// A child appeared that was not there: the servers are worth asking.
    pub new_child: bool,
}

impl Changes {
    /// Nothing has changed.
    pub fn is_empty(&self) -> bool {
        !self.host && self.children.is_empty()
    }

    /// Adds what another look has changed.
    pub fn merge(&mut self, other: Changes) {
        self.host |= other.host;
        self.beyond_neighbours |= other.beyond_neighbours;
        self.neighbours.extend(other.neighbours);
        self.children.extend(other.children);
        self.new_child |= other.new_child;
    }

    /// Something of the host other than a neighbour entry, if it did change.
    pub(super) fn host(&mut self, changed: bool) {
        self.host |= changed;
        self.beyond_neighbours |= changed;
    }

    /// A neighbour entry, if it did change.
    pub(super) fn neighbour(&mut self, address: IpAddr, changed: bool) {
        if changed {
            self.host = true;
            self.neighbours.insert(address);
        }
    }
}
