//! The NICs of the guests that run, as far as they matter for finding their children.

use std::collections::BTreeSet;

use crate::model::inventory::{Guest, Inventory, Mode, Nic, NicParent, Nics, Power};
use crate::model::snapshot::{ChildKey, Netns};
use crate::model::{GuestKey, LinkIndex, Mac, NicKey};
use crate::reconcile::facts::Facts;

/// A NIC of a guest that runs.
pub(super) struct RunningNic<'a> {
    pub(super) key: NicKey,
    pub(super) guest: &'a Guest,
    /// Its entry in the server's list; `None` if it is known only from the namespace.
    pub(super) told: Option<&'a Nic>,
    /// The parent that the server names.
    pub(super) parent: Option<LinkIndex>,
    /// The namespace of the guest's home.
    pub(super) home: Option<Netns>,
}

impl RunningNic<'_> {
    /// The MAC that the server names.
    pub(super) fn mac(&self) -> Option<Mac> {
        self.told.and_then(|nic| nic.mac)
    }
}

/// The NICs of all guests that run, in the order of their keys.
pub(super) fn running_nics<'a>(facts: &Facts<'_>, inventory: &'a Inventory) -> Vec<RunningNic<'a>> {
    let running = inventory.guests().filter(|(_, guest)| guest.power == Power::Running);
    let mut nics = Vec::new();
    for (key, guest) in running {
        let home = facts.snapshot.homes.get(&guest.home).copied();
        let nic = |name: &String, told: Option<&'a Nic>| RunningNic {
            key: NicKey { guest: key.clone(), nic: name.clone() },
            guest,
            told,
            parent: told.and_then(|nic| parent_of(facts, nic)),
            home,
        };
        match &guest.nics {
            Nics::Told(told) => nics.extend(told.iter().map(|told| nic(&told.name, Some(told)))),
            Nics::AllInItsNamespace => {
                let inside =
                    home.into_iter().flat_map(|home| facts.snapshot.children.range(ChildKey::all_in(home)));
                let may_be_nics = inside.filter(|(_, child)| child.mode == Mode::Bridge);
                nics.extend(may_be_nics.map(|(_, child)| nic(&child.name, None)));
            }
        }
    }
    nics.sort_by(|a, b| a.key.cmp(&b.key));
    nics
}

/// The guests that run.
pub(super) fn running(inventory: &Inventory) -> BTreeSet<GuestKey> {
    let running = inventory.guests().filter(|(_, guest)| guest.power == Power::Running);
    running.map(|(key, _)| key).collect()
}

/// The ifindex of the link that is a NIC's parent by the configuration.
fn parent_of(facts: &Facts<'_>, nic: &Nic) -> Option<LinkIndex> {
    match &nic.parent {
        NicParent::Link { name, vlan } => facts.resolve(name, *vlan).map(|link| link.index),
        NicParent::Unknown(_) => None,
    }
}
