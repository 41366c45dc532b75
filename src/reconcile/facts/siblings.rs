//! Siblings: the further children that a guest makes. A macvlan on top of a guest's NIC is on the host's own
//! parent, as the NIC is. keepalived makes one for a virtual MAC (`use_vmac`). Its addresses count as the
//! NIC's.

use crate::model::inventory::Mode;
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::{LinkIndex, Mac, Snapshot};

/// The siblings of a child, in the order of their keys: the others in its namespace on its parent. Three
/// kinds are not siblings: children in the host's own namespace, children that only listen in, and children
/// that are down, because those may have any MAC, even another guest's.
pub(in crate::reconcile) fn siblings_of(
    snapshot: &Snapshot,
    key: ChildKey,
) -> impl Iterator<Item = (ChildKey, &Child)> {
    let all = ChildKey { index: LinkIndex(0), ..key }..=ChildKey { index: LinkIndex::LAST, ..key };
    let parent = snapshot.children.get(&key).map(|child| child.parent);
    let of_guest = key.netns != Netns::Host;
    let others = snapshot.children.range(all).filter(move |(other, child)| {
        let serves = !child.tap && child.up && child.mode != Mode::Source;
        of_guest && **other != key && serves && Some(child.parent) == parent
    });
    others.map(|(key, child)| (*key, child))
}

/// The MACs at which the shim reaches a child: its own in mode bridge. In another mode the kernel hands it
/// nothing from the shim. But a guest accepts packets for any of its addresses on any of its links, so it is
/// then reached at its siblings in mode bridge.
pub(in crate::reconcile) fn reached_at(snapshot: &Snapshot, key: ChildKey, child: &Child) -> Vec<Mac> {
    match child.mode {
        Mode::Bridge => vec![child.mac],
        Mode::Source => Vec::new(),
        _ => siblings_of(snapshot, key)
            .filter(|(_, other)| other.mode == Mode::Bridge)
            .map(|(_, other)| other.mac)
            .collect(),
    }
}
