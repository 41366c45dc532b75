//! The guests that run and their NICs, as far as they matter for finding children.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::model::inventory::{Guest, Inventory, Mode, Nic, Nics, Power};
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

/// The guests that run, listed once for a decision.
pub(in crate::reconcile) struct Running<'a> {
    /// Those with a NIC or without.
    pub(super) guests: BTreeSet<GuestKey>,
    /// Their NICs, in the order of the keys.
    pub(super) nics: Vec<RunningNic<'a>>,
}

impl<'a> Running<'a> {
    pub(in crate::reconcile) fn of(facts: &Facts<'_>, inventory: &'a Inventory) -> Running<'a> {
        let (mut guests, mut nics) = (BTreeSet::new(), Vec::new());
        for (key, guest) in inventory.guests().filter(|(_, guest)| guest.power == Power::Running) {
            let home = facts.snapshot.homes.get(&guest.home).copied();
            let nic = |name: &SmolStr, told: Option<&'a Nic>| RunningNic {
                key: NicKey { guest: key.clone(), nic: name.clone() },
                guest,
                told,
                parent: told.and_then(|nic| facts.parent_of(nic)).map(|link| link.index),
                home,
            };
            match &guest.nics {
                Nics::Told(told) => nics.extend(told.iter().map(|told| nic(&told.name, Some(told)))),
                Nics::AllInItsNamespace => {
                    let children = &facts.snapshot.children;
                    let inside = home.into_iter().flat_map(|home| children.range(ChildKey::all_in(home)));
                    let may_be_nics = inside.filter(|(_, child)| child.mode == Mode::Bridge);
                    nics.extend(may_be_nics.map(|(_, child)| nic(&child.name, None)));
                }
            }
            guests.insert(key);
        }
        nics.sort_by(|a, b| a.key.cmp(&b.key));
        Running { guests, nics }
    }
}
