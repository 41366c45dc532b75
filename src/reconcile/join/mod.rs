//! Which child is which NIC. The server knows a NIC by its parent and MAC; the kernel knows a child by its
//! namespace and ifindex. Once joined, a child stays its NIC's whatever the guest does to its MAC. Where the
//! MAC does not tell, as for a process that has just started, the namespace of the guest's first process
//! does.

mod homes;
mod joins;
pub(super) mod overhear;
mod servers_to_ask;
pub(super) mod siblings;

use std::collections::BTreeSet;

pub use self::homes::Homes;
pub(super) use self::homes::homes;
pub use self::joins::Joins;
use self::joins::{RunningNic, running_nics};
pub use self::servers_to_ask::servers_to_ask;
use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, Nic, NicParent};
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::{GuestKey, LinkIndex, NicKey};
use crate::reconcile::facts::Facts;

/// Joins the NICs of all guests that run with the children that the kernel shows. `before` is the result of
/// the last time: what is joined stays joined while both sides are there. `homes` says whose namespaces are
/// known.
pub fn join(facts: &Facts<'_>, inventory: &Inventory, before: &Joins, homes: &Homes) -> Joins {
    let children = &facts.snapshot.children;
    let mut nics: Vec<RunningNic<'_>> = running_nics(inventory).collect();
    nics.sort_by(|a, b| a.key.cmp(&b.key));
    let mut joins = Joins::new();
    let mut taken = BTreeSet::new();
    let mut take = |joins: &mut Joins, nic: &NicKey, child: ChildKey| {
        if !joins.contains_key(nic) && taken.insert(child) {
            joins.insert(nic.clone(), child);
        }
    };

    let lives_in = |guest: &Guest| facts.snapshot.homes.get(&guest.home).copied();
    // Root in a guest can give any MAC to what is in its namespace, also that of a guest which is away just
    // now. So what is in another guest's namespace is not taken by its MAC, unless the first process tells
    // that the guest lives there: the ids of namespaces are used again at once.
    let running: BTreeSet<&GuestKey> = nics.iter().map(|running| &running.key.guest).collect();
    let is_anothers = |key: &NicKey, guest: &Guest, child: &ChildKey| {
        let owner = homes.get(&child.netns).filter(|owner| running.contains(owner));
        let other = owner.is_some_and(|owner| *owner != key.guest);
        other && before.get(key) != Some(child) && lives_in(guest) != Some(child.netns)
    };

    // By parent and MAC. Of several that fit, one in the guest's namespace; then one that is up: root in a
    // guest can make a link with any MAC, but it goes up only where nobody has that; then the one that was
    // joined before.
    for RunningNic { key, guest, nic } in &nics {
        let parent = parent_of(facts, nic);
        let fits = |child: &&ChildKey| {
            let seen = &children[*child];
            Some(seen.parent) == parent && may_be_of(guest, **child, seen) && !is_anothers(key, guest, child)
        };
        let same_mac = nic.mac.into_iter().flat_map(|mac| facts.host.children_with(mac));
        let (home, standing) = (lives_in(guest), before.get(key));
        let order =
            |child: &&ChildKey| (Some(child.netns) != home, !children[*child].up, Some(*child) != standing);
        if let Some(child) = same_mac.filter(fits).min_by_key(order) {
            take(&mut joins, key, *child);
        }
    }
    // What was joined before and changed its MAC.
    for RunningNic { key, .. } in &nics {
        if let Some(child) = before.get(key).filter(|child| children.contains_key(child)) {
            take(&mut joins, key, *child);
        }
    }
    // By MAC alone: the kernel's word on the parent counts, not the configuration's.
    for RunningNic { key, guest, nic } in &nics {
        let same_kind = |child: &&ChildKey| may_be_of(guest, **child, &children[*child]);
        let same_mac = nic.mac.into_iter().flat_map(|mac| facts.host.children_with(mac)).filter(same_kind);
        if let &[child] = same_mac.collect::<Vec<_>>().as_slice()
            && !is_anothers(key, guest, child)
        {
            take(&mut joins, key, *child);
        }
    }
    // By namespace: of several the one with the NIC's name, then one in its mode, because a guest may have
    // siblings of its NIC.
    for RunningNic { key, guest, nic } in &nics {
        let Some(netns) = lives_in(guest) else { continue };
        let parent = parent_of(facts, nic);
        let fits = children.range(ChildKey::all_in(netns)).filter(|(child, seen)| {
            let is_free = !joins.values().any(|joined| joined == *child);
            may_be_of(guest, **child, seen) && Some(seen.parent) == parent && is_free
        });
        if let Some((child, _)) = fits.min_by_key(|(_, seen)| (seen.name != nic.link, seen.mode != nic.mode))
        {
            take(&mut joins, key, *child);
        }
    }
    joins
}

/// The guests with a NIC that is joined with none, while a child on its parent is nobody's or has its MAC; or
/// with one whose MAC several children have.
pub fn doubts(facts: &Facts<'_>, inventory: &Inventory, joins: &Joins) -> BTreeSet<GuestKey> {
    let children = &facts.snapshot.children;
    let joined: BTreeSet<&ChildKey> = joins.values().collect();
    let strange = children
        .iter()
        .filter(|(key, child)| !child.tap && key.netns != Netns::Host && !joined.contains(key))
        .filter(|(_, child)| child.mode != Mode::Source);
    let strange: BTreeSet<LinkIndex> = strange.map(|(_, child)| child.parent).collect();
    let in_doubt = running_nics(inventory).filter(|RunningNic { key, guest, nic }| {
        let Some(parent) = parent_of(facts, nic) else { return false };
        let on_parent = |child: &&ChildKey| children[*child].parent == parent;
        let twins = nic.mac.map_or(0, |mac| facts.host.children_with(mac).filter(on_parent).count());
        let doubtful = match joins.contains_key(key) {
            true => twins > 1 && strange.contains(&parent),
            false => {
                let mut same_mac = nic.mac.into_iter().flat_map(|mac| facts.host.children_with(mac));
                strange.contains(&parent)
                    || same_mac.any(|child| child.netns != Netns::Host && on_parent(&child))
            }
        };
        guest.kind == GuestKind::Container && doubtful
    });
    in_doubt.map(|running| running.key.guest).collect()
}

/// A VM's NIC is a tap and stays with the host. A container's is in a namespace of its own: what the host
/// still has of it is on its way in or out, or was left there, MAC and all, when the container died and its
/// server was down. What listens in is a guest's own making.
fn may_be_of(guest: &Guest, key: ChildKey, child: &Child) -> bool {
    let vm = guest.kind == GuestKind::VirtualMachine;
    child.tap == vm && (key.netns == Netns::Host) == vm && child.mode != Mode::Source
}

/// The ifindex of the link that the configuration hangs a NIC on.
fn parent_of(facts: &Facts<'_>, nic: &Nic) -> Option<LinkIndex> {
    match &nic.parent {
        NicParent::Link { name, vlan } => facts.resolve(name, *vlan).map(|link| link.index),
        NicParent::Unknown(_) => None,
    }
}
