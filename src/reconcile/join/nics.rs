//! The NICs of the guests that run, as far as they matter for finding their children.

use std::collections::BTreeSet;

use crate::model::inventory::{Guest, Inventory, Nic, NicParent, Power};
use crate::model::snapshot::Netns;
use crate::model::{GuestKey, LinkIndex, NicKey};
use crate::reconcile::facts::Facts;

/// A NIC of a guest that runs.
pub(super) struct RunningNic<'a> {
    pub(super) key: NicKey,
    pub(super) guest: &'a Guest,
    pub(super) nic: &'a Nic,
    /// The parent that the server tells.
    pub(super) parent: Option<LinkIndex>,
    /// The namespace of the guest's home.
    pub(super) home: Option<Netns>,
}

/// The NICs of all guests that run, in the order of their keys.
pub(super) fn running_nics<'a>(facts: &Facts<'_>, inventory: &'a Inventory) -> Vec<RunningNic<'a>> {
    let running = inventory.guests().filter(|(_, guest)| guest.power == Power::Running);
    let nics = running.flat_map(|(key, guest)| {
        let home = facts.snapshot.homes.get(&guest.home).copied();
        guest.nics.iter().map(move |nic| RunningNic {
            key: NicKey { guest: key.clone(), nic: nic.name.clone() },
            guest,
            nic,
            parent: parent_of(facts, nic),
            home,
        })
    });
    let mut nics: Vec<RunningNic<'_>> = nics.collect();
    nics.sort_by(|a, b| a.key.cmp(&b.key));
    nics
}

/// The guests that run.
pub(super) fn running(inventory: &Inventory) -> BTreeSet<GuestKey> {
    let running = inventory.guests().filter(|(_, guest)| guest.power == Power::Running);
    running.map(|(key, _)| key).collect()
}

/// The ifindex of the link that the configuration hangs a NIC on.
fn parent_of(facts: &Facts<'_>, nic: &Nic) -> Option<LinkIndex> {
    match &nic.parent {
        NicParent::Link { name, vlan } => facts.resolve(name, *vlan).map(|link| link.index),
        NicParent::Unknown(_) => None,
    }
}
