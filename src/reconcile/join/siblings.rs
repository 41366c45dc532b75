//! The NICs that siblings count as.

use std::collections::BTreeMap;

use super::joins::Joins;
use crate::model::snapshot::ChildKey;
use crate::model::{NicKey, Snapshot};
use crate::reconcile::facts::siblings::siblings_of;

/// The NIC that each child counts as, if it is a NIC or a sibling of one. A sibling of several NICs counts as
/// the first.
pub(in crate::reconcile) fn nics_of<'a>(
    snapshot: &Snapshot,
    joins: &'a Joins,
) -> BTreeMap<ChildKey, &'a NicKey> {
    let mut nics: BTreeMap<ChildKey, &NicKey> = joins.iter().map(|(nic, child)| (*child, nic)).collect();
    for (nic, child) in joins {
        for (key, _) in siblings_of(snapshot, *child) {
            nics.entry(key).or_insert(nic);
        }
    }
    nics
}
