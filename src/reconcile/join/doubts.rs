//! The guests whose children cannot be identified by MACs.

use std::collections::BTreeSet;

use super::joins::Joins;
use super::nics::{Running, RunningNic};
use crate::model::inventory::{GuestKind, Mode};
use crate::model::snapshot::{ChildKey, Netns};
use crate::model::{GuestKey, LinkIndex};
use crate::reconcile::facts::Facts;

/// The guests with a NIC that has no child, while a child on its parent is nobody's or has its MAC. Also the
/// guests with a NIC whose MAC several children have.
pub(in crate::reconcile) fn doubts(
    facts: &Facts<'_>,
    running: &Running<'_>,
    joins: &Joins,
) -> BTreeSet<GuestKey> {
    let children = &facts.snapshot.children;
    let strange = children
        .iter()
        .filter(|(key, child)| !child.tap && key.netns != Netns::Host && joins.nic(key).is_none())
        .filter(|(_, child)| child.mode != Mode::Source);
    let strange: BTreeSet<LinkIndex> = strange.map(|(_, child)| child.parent).collect();
    let in_doubt = |nic: &&RunningNic<'_>| {
        let Some(parent) = nic.parent else { return false };
        let on_parent = |child: &&ChildKey| children[*child].parent == parent;
        let same_mac =
            || nic.mac().into_iter().flat_map(|mac| facts.host.children_with(mac)).filter(on_parent);
        let doubtful = match joins.child(&nic.key) {
            Some(_) => same_mac().count() > 1,
            None => strange.contains(&parent) || same_mac().any(|child| child.netns != Netns::Host),
        };
        nic.guest.kind == GuestKind::Container && doubtful
    };
    running.nics.iter().filter(in_doubt).map(|nic| nic.key.guest.clone()).collect()
}
