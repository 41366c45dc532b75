//! Children that a guest makes beside its NIC: a macvlan upon a guest's NIC hangs on the host's own parent, so it is
//! the NIC's sibling. keepalived does this for a virtual MAC (`use_vmac`). Its addresses count as that NIC's.

use std::collections::BTreeMap;

use super::join::Joins;
use crate::model::inventory::Mode;
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::{LinkIndex, Mac, NicKey, Snapshot};

/// The NIC that every child counts as, if it is one or is beside one: in the same namespace, on the same parent. Beside
/// several it is the first one's.
pub(super) fn nics_of<'a>(snapshot: &Snapshot, joins: &'a Joins) -> BTreeMap<ChildKey, &'a NicKey> {
    let mut nics: BTreeMap<ChildKey, &NicKey> = joins.iter().map(|(nic, child)| (*child, nic)).collect();
    for (nic, child) in joins {
        for (key, _) in siblings_of(snapshot, *child) {
            nics.entry(key).or_insert(nic);
        }
    }
    nics
}

/// The children beside this one, in the order of their keys. What is in the host's own namespace is nobody's sibling; nor is
/// what is down, for that may have any MAC, another guest's too; nor what only listens in.
pub(super) fn siblings_of(snapshot: &Snapshot, key: ChildKey) -> impl Iterator<Item = (ChildKey, &Child)> {
    let all = ChildKey { index: LinkIndex(0), ..key }..=ChildKey { index: LinkIndex::LAST, ..key };
    let parent = snapshot.children.get(&key).map(|child| child.parent);
    let of_guest = key.netns != Netns::Host;
    let others = snapshot.children.range(all).filter(move |(other, child)| {
        let serves = !child.tap && child.up && child.mode != Mode::Source;
        of_guest && **other != key && serves && Some(child.parent) == parent
    });
    others.map(|(key, child)| (*key, child))
}

/// The MACs at which the shim reaches a child: its own in mode bridge. In another mode the kernel hands it nothing from
/// the shim; but a guest takes what is for any of its addresses on any of its links, so then it is reached at those
/// beside it that are in mode bridge.
pub(super) fn reached_at(snapshot: &Snapshot, key: ChildKey, child: &Child) -> Vec<Mac> {
    match child.mode {
        Mode::Bridge => vec![child.mac],
        Mode::Source => Vec::new(),
        _ => siblings_of(snapshot, key)
            .filter(|(_, other)| other.mode == Mode::Bridge)
            .map(|(_, other)| other.mac)
            .collect(),
    }
}
