//! What waits or failed holds back what must come after it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::Op;

/// What must not happen because something that must come before it has not.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    /// Shims that are not there, or not up.
    shims: BTreeSet<String>,
    /// Names that shims should have left.
    names: BTreeSet<String>,
    /// Shims that are not complete, and so must not go up.
    incomplete: BTreeSet<String>,
    /// Own addresses of shims that are not there.
    sources: BTreeSet<IpAddr>,
    /// Addresses whose route still leads where it should no longer.
    moves: BTreeSet<IpAddr>,
    hosts: BTreeSet<(String, IpAddr)>,
    /// Families with routes that are not there, or not gone.
    routes: BTreeSet<bool>,
}

impl Holds {
    /// True if something that must come before this op has not happened.
    pub(super) fn hold_back(&self, op: &Op) -> bool {
        let shim = |name: &String| self.shims.contains(name);
        let host = |name: &String, address: &IpAddr| self.hosts.contains(&(name.clone(), *address));
        match op {
            Op::Probe { .. } | Op::AddRule { .. } => false,
            Op::Rename { name, .. } => self.names.contains(name),
            Op::CreateShim { shim: at, .. } => shim(&at.name) || self.names.contains(&at.name),
            Op::Mark { shim: at, .. }
            | Op::SetMac { shim: at, .. }
            | Op::SetMtu { shim: at, .. }
            | Op::MulticastOff { shim: at }
            | Op::Set { shim: at, .. }
            | Op::SetFilter { shim: at, .. }
            | Op::AddAddress { shim: at, .. }
            | Op::AddProxy { shim: at, .. } => shim(&at.name),
            Op::SetUp { shim: at } => shim(&at.name) || self.incomplete.contains(&at.name),
            Op::SetNeighbour { shim: at, address, .. } => shim(&at.name) || host(&at.name, address),
            Op::SetRoute { shim: at, destination, source, .. } => {
                let source = source.is_some_and(|source| self.sources.contains(&source));
                shim(&at.name) || host(&at.name, &destination.addr()) || source
            }
            Op::DeleteRule { ipv6, .. } => self.routes.contains(ipv6),
            Op::DeleteRoute { link_name, destination, .. } => host(link_name, &destination.addr()),
            Op::DeleteNeighbour { link_name, address, .. } => {
                host(link_name, address) || self.moves.contains(address)
            }
            Op::DeleteProxy { .. } | Op::DeleteAddress { .. } => false,
            Op::DeleteShim { link_name, .. } | Op::DeleteFilter { link_name, .. } => shim(link_name),
        }
    }

    /// Adds what must come after an op that has not happened.
    pub(super) fn add(&mut self, op: &Op) {
        match op {
            Op::CreateShim { shim, .. } | Op::SetUp { shim } => {
                self.shims.insert(shim.name.clone());
            }
            Op::Rename { link_name, .. } => {
                self.names.insert(link_name.clone());
            }
            Op::MulticastOff { shim } | Op::Set { shim, .. } => {
                self.incomplete.insert(shim.name.clone());
            }
            Op::AddAddress { address, .. } => {
                self.sources.insert(*address);
            }
            Op::SetNeighbour { shim, address, .. } => {
                self.hosts.insert((shim.name.clone(), *address));
            }
            Op::SetRoute { shim, destination, replace, .. } => {
                self.hosts.insert((shim.name.clone(), destination.addr()));
                if *replace {
                    self.moves.insert(destination.addr());
                }
                self.routes.insert(destination.addr().is_ipv6());
            }
            Op::DeleteRoute { link_name, destination, .. } => {
                self.hosts.insert((link_name.clone(), destination.addr()));
                self.shims.insert(link_name.clone());
            }
            Op::DeleteShim { link_name, .. } => {
                self.names.insert(link_name.clone());
                self.shims.insert(link_name.clone());
            }
            // Without a filter the sysctls serve: the shim goes up all the same. Where an old one stands that drops a
            // guest's frames, nothing is gained by holding back its route: `status` calls it filtered.
            Op::SetFilter { .. }
            | Op::DeleteFilter { .. }
            | Op::Mark { .. }
            | Op::SetMac { .. }
            | Op::SetMtu { .. }
            | Op::DeleteNeighbour { .. }
            | Op::AddProxy { .. }
            | Op::Probe { .. }
            | Op::AddRule { .. }
            | Op::DeleteRule { .. }
            | Op::DeleteProxy { .. }
            | Op::DeleteAddress { .. } => {}
        }
    }
}
