//! Ops that wait or failed hold back the ops that must come after them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::model::{Family, Op};
use smol_str::SmolStr;

/// The objects whose ops must wait, because an op that must come before has not happened. Each has the time
/// when that op is due.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    /// Shims that do not exist, or are not up.
    shims: Until<SmolStr>,
    /// Shims with routes that should be gone. The shims stay until then.
    routed: Until<SmolStr>,
    /// Names that shims should have given up.
    names: Until<SmolStr>,
    /// Shims that are not complete, and so must not go up.
    incomplete: Until<SmolStr>,
    /// Shims whose filters are being changed: one change at a time.
    filters: Until<SmolStr>,
    /// The table of filters is being deleted.
    table: Option<Instant>,
    /// Own addresses of shims that do not exist.
    sources: Until<IpAddr>,
    /// Addresses whose route is still the former one.
    moves: Until<IpAddr>,
    /// Addresses on shims whose neighbour entry or route is missing, or not yet gone.
    addresses: Until<(SmolStr, IpAddr)>,
    /// Families with routes that are missing, or not yet gone.
    routes: Until<Family>,
}

/// An object, and the earliest time of the op that it waits for.
type Until<T> = BTreeMap<T, Instant>;

impl Holds {
    /// The earliest time of an event that must come before this op and has not happened; `None` if there is
    /// no such event.
    pub(super) fn hold_back(&self, op: &Op) -> Option<Instant> {
        let shim = |name: &SmolStr| self.shims.get(name);
        let address_on = |name: &SmolStr, address: &IpAddr| self.addresses.get(&(name.clone(), *address));
        let holds = match op {
            Op::Ask { .. } | Op::ReleaseNeighbour { .. } | Op::AddRule { .. } | Op::DeleteProxy { .. } => {
                [None; 3]
            }
            // The same address with another length comes first, because it is the source of routes.
            Op::DeleteAddress { address, .. } => [self.sources.get(&address.addr()), None, None],
            Op::Rename { name, .. } => [self.names.get(name), None, None],
            Op::CreateShim { shim: at, .. } => [shim(&at.name), self.names.get(&at.name), None],
            Op::Mark { shim: at, .. }
            | Op::SetMac { shim: at, .. }
            | Op::SetMtu { shim: at, .. }
            | Op::SetFlags { shim: at, .. }
            | Op::Set { shim: at, .. }
            | Op::AddAddress { shim: at, .. }
            | Op::AddProxy { shim: at, .. } => [shim(&at.name), None, None],
            Op::SetFilter { shim: at, .. } => {
                [shim(&at.name), self.filters.get(&at.name), self.table.as_ref()]
            }
            Op::SetUp { shim: at } => [shim(&at.name), self.incomplete.get(&at.name), None],
            Op::SetNeighbour { shim: at, address, .. } => {
                [shim(&at.name), address_on(&at.name, address), None]
            }
            Op::SetRoute { shim: at, destination, source, .. } => {
                let source = source.and_then(|source| self.sources.get(&source));
                [shim(&at.name), address_on(&at.name, &destination.addr()), source]
            }
            Op::DeleteRule { family, .. } => [self.routes.get(family), None, None],
            Op::DeleteRoute { link, destination, .. } => {
                [address_on(&link.name, &destination.addr()), None, None]
            }
            Op::DeleteNeighbour { link, address } => {
                [address_on(&link.name, address), self.moves.get(address), None]
            }
            Op::DeleteShim { link } => [shim(&link.name), self.routed.get(&link.name), None],
            // The last deletes the table, and so waits for all shims and filters.
            Op::DeleteFilter { last: true, .. } => {
                let filter = self.filters.values().max().max(self.table.as_ref());
                [self.shims.values().max(), self.routed.values().max(), filter]
            }
            Op::DeleteFilter { link, .. } => {
                let filter = self.filters.get(&link.name).max(self.table.as_ref());
                [shim(&link.name), self.routed.get(&link.name), filter]
            }
        };
        holds.into_iter().flatten().max().copied()
    }

    /// Adds the ops that must come after an op that is under way, or that waits for one that is. Until its
    /// filter exists, or is known to be impossible, a shim does not go up.
    pub(super) fn add_under_way(&mut self, op: &Op, due: Instant) {
        match op {
            Op::SetFilter { shim, .. } => {
                add(&mut self.filters, &shim.name, due);
                add(&mut self.incomplete, &shim.name, due);
            }
            Op::DeleteFilter { link, last } => {
                add(&mut self.filters, &link.name, due);
                self.table = self.table.max(last.then_some(due));
            }
            _ => {}
        }
    }

    /// Adds the ops that are about a link that does not exist any more.
    pub(super) fn add_gone(&mut self, link: &str, due: Instant) {
        add(&mut self.shims, &SmolStr::from(link), due);
    }

    /// Adds the ops that must come after an op that has not happened, and will not before it is due.
    pub(super) fn add(&mut self, op: &Op, due: Instant) {
        match op {
            Op::CreateShim { shim, .. } | Op::SetUp { shim } => add(&mut self.shims, &shim.name, due),
            Op::Rename { link, .. } => add(&mut self.names, &link.name, due),
            Op::SetFlags { shim, .. } | Op::Set { shim, .. } => add(&mut self.incomplete, &shim.name, due),
            Op::AddAddress { address, .. } => add(&mut self.sources, &address.addr(), due),
            Op::SetNeighbour { shim, address, .. } => {
                add(&mut self.addresses, &(shim.name.clone(), *address), due);
            }
            Op::SetRoute { shim, destination, replace, .. } => {
                let address = destination.addr();
                add(&mut self.addresses, &(shim.name.clone(), address), due);
                if *replace {
                    add(&mut self.moves, &address, due);
                }
                add(&mut self.routes, &Family::of(address), due);
            }
            Op::DeleteRoute { link, destination, .. } => {
                add(&mut self.addresses, &(link.name.clone(), destination.addr()), due);
                add(&mut self.routed, &link.name, due);
            }
            Op::DeleteShim { link } => {
                add(&mut self.names, &link.name, due);
                add(&mut self.shims, &link.name, due);
            }
            // Without a filter the sysctls serve, so the shim goes up all the same. If an old filter drops a
            // guest's frames, holding back its route gains nothing. `status` calls it filtered.
            Op::SetFilter { .. }
            | Op::DeleteFilter { .. }
            | Op::Mark { .. }
            | Op::SetMac { .. }
            | Op::SetMtu { .. }
            | Op::DeleteNeighbour { .. }
            | Op::ReleaseNeighbour { .. }
            | Op::AddProxy { .. }
            | Op::Ask { .. }
            | Op::AddRule { .. }
            | Op::DeleteRule { .. }
            | Op::DeleteProxy { .. }
            | Op::DeleteAddress { .. } => {}
        }
    }
}

fn add<T: Ord + Clone>(holds: &mut Until<T>, what: &T, due: Instant) {
    let until = holds.entry(what.clone()).or_insert(due);
    *until = due.max(*until);
}
