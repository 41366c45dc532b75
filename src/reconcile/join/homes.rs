//! The namespaces of guests.

use std::collections::BTreeMap;

use super::joins::Joins;
use super::nics::{Running, RunningNic};
use crate::model::GuestKey;
use crate::model::snapshot::{ChildKey, Netns};
use crate::reconcile::facts::Facts;

/// The guests that namespaces are known to belong to.
pub type Homes = BTreeMap<Netns, GuestKey>;

/// The namespaces that are known to be guests' once their NICs are joined: those that were known before,
/// while the guest runs and something is left in the namespace, and those in which a NIC was found.
pub(in crate::reconcile) fn homes(
    facts: &Facts<'_>,
    running: &Running<'_>,
    joins: &Joins,
    before: &Homes,
) -> Homes {
    let children = &facts.snapshot.children;
    let stays = |(netns, guest): &(&Netns, &GuestKey)| {
        running.guests.contains(*guest) && children.range(ChildKey::all_in(**netns)).next().is_some()
    };
    let stay = before.iter().filter(stays).map(|(netns, guest)| (*netns, guest.clone()));
    let mut homes: Homes = stay.collect();
    for (nic, child) in joins.nics().filter(|(_, child)| child.netns != Netns::Host) {
        homes.entry(child.netns).or_insert_with(|| nic.guest.clone());
    }
    for RunningNic { key, told, home, .. } in &running.nics {
        let is_sure = told.is_some() || joins.child(key).is_some();
        if let Some(netns) = home.filter(|netns| is_sure && homes.contains_key(netns)) {
            homes.insert(netns, key.guest.clone());
        }
    }
    homes
}
