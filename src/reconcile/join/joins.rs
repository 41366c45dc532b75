//! Which child is which NIC, once that is found.

use std::collections::BTreeMap;

use crate::model::NicKey;
use crate::model::inventory::{Guest, Inventory, Nic, Power};
use crate::model::snapshot::ChildKey;

/// The children of NICs.
pub type Joins = BTreeMap<NicKey, ChildKey>;

/// A NIC of a guest that runs.
pub(super) struct RunningNic<'a> {
    pub(super) key: NicKey,
    pub(super) guest: &'a Guest,
    pub(super) nic: &'a Nic,
}

/// The NICs of all guests that run.
pub(super) fn running_nics(inventory: &Inventory) -> impl Iterator<Item = RunningNic<'_>> {
    inventory.guests().filter(|(_, guest)| guest.power == Power::Running).flat_map(|(key, guest)| {
        let key = move |nic: &Nic| NicKey { guest: key.clone(), nic: nic.name.clone() };
        guest.nics.iter().map(move |nic| RunningNic { key: key(nic), guest, nic })
    })
}
