//! The parents that should have shims.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, NicParent};
use crate::model::status::Problem;
use crate::model::{Code, GuestKey, LinkIndex, NicKey};
use crate::reconcile::facts::Facts;
use crate::reconcile::hold::Held;
use crate::reconcile::select::{Decision, left_out};

/// The inputs that demand shims.
pub(in crate::reconcile) struct Demand<'a> {
    /// The inventory.
    pub(in crate::reconcile) inventory: &'a Inventory,
    /// The decision on every NIC.
    pub(in crate::reconcile) decisions: &'a BTreeMap<NicKey, Decision>,
    /// The holders of addresses.
    pub(in crate::reconcile) held: &'a Held,
    /// Every present server was read.
    pub(in crate::reconcile) settled: bool,
}

impl Demand<'_> {
    /// The parents that should have a shim, each with the reason; and the faults of the configured ones.
    pub(super) fn wanted_parents(&self, facts: &Facts<'_>) -> (BTreeMap<LinkIndex, String>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut wanted: BTreeMap<LinkIndex, String> = BTreeMap::new();
        for (key, decision) in self.decisions {
            if let Decision::Served { parent, .. } = decision {
                wanted.entry(*parent).or_insert_with(|| format!("{key} is on it"));
            }
        }
        for (address, holder) in self.held.holders.iter().filter(|(_, holder)| holder.nic.is_none()) {
            wanted.entry(holder.parent).or_insert_with(|| format!("{} still has {address}", holder.mac));
        }
        if !self.settled {
            for (parent, link) in facts.shims() {
                wanted
                    .entry(parent)
                    .or_insert_with(|| format!("{} exists, and a server is still to be read", link.name));
            }
        }
        let general_keep = facts.config.shim.keep;
        let not_kept: BTreeSet<LinkIndex> = (facts.config.parents.iter())
            .filter(|(_, parent)| parent.keep == Some(false))
            .filter_map(|(name, _)| Some(facts.resolve(name, None)?.index))
            .collect();
        let guests: BTreeMap<GuestKey, &Guest> = self.inventory.guests().filter(|_| general_keep).collect();
        for (key, guest) in guests {
            if left_out(&facts.config.select, guest).is_some() || guest.kind == GuestKind::VirtualMachine {
                continue;
            }
            for nic in guest.nics.told().iter().filter(|nic| nic.mode == Mode::Bridge) {
                let NicParent::Link { name, vlan } = &nic.parent else { continue };
                if let Some(link) = facts.resolve(name, *vlan).filter(|link| !not_kept.contains(&link.index))
                {
                    wanted.entry(link.index).or_insert_with(|| format!("[shim] keep, and {key} uses it"));
                }
            }
        }
        for (name, parent) in &facts.config.parents {
            match facts.resolve(name, None) {
                Some(link) if parent.keep.unwrap_or(general_keep) => {
                    wanted.entry(link.index).or_insert_with(|| format!("[[parent]] {name} keep"));
                }
                Some(link) if parent.keep.is_none() && !parent.routes.is_empty() => {
                    wanted.entry(link.index).or_insert_with(|| format!("[[parent]] {name} routes"));
                }
                Some(_) => {}
                None => problems.push(Problem::new(
                    Code::ParentAbsent,
                    name.clone(),
                    format!(
                        "the configuration has [[parent]] name = {name:?}, and there is no such interface"
                    ),
                    "correct the name, or wait until the interface appears: it is then taken up at once",
                )),
            }
        }
        (wanted, problems)
    }
}
