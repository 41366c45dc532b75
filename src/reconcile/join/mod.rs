//! For each child of a parent: whose is it, and how do we know?
//!
//! The server knows a NIC by its parent and MAC; the kernel knows a child by its namespace and ifindex. Once
//! joined, a child stays its NIC's whatever the guest does to its MAC. Where the MAC does not tell, as for a
//! guest that has just started, the namespace of its home does. Of some guests no server tells the NICs. What
//! their namespace has is theirs, unless it is the namespace of a guest that is known better.
//!
//! | file | what is there |
//! | --- | --- |
//! | `joins` | the answer: whose each child is, with the reason. The order of the reasons is the law |
//! | `evidence` | what speaks for a child as a NIC, and what against |
//! | `nics` | the NICs of the guests that run |
//! | `homes` | which namespace is which guest's |
//! | `doubts` | the guests whose homes are wanted, because MACs do not tell |
//! | `overhear` | guests that listen in |
//! | `servers_to_ask` | which servers are asked when children appear |

mod doubts;
mod evidence;
mod homes;
mod joins;
mod nics;
pub(super) mod overhear;
mod servers_to_ask;

pub(super) use self::doubts::doubts;
use self::evidence::{Case, Evidence};
pub use self::homes::Homes;
pub(super) use self::homes::homes;
pub use self::joins::{By, Joined, Joins};
use self::nics::RunningNic;
pub use self::servers_to_ask::servers_to_ask;
use crate::model::inventory::Inventory;
use crate::reconcile::facts::Facts;

/// Joins the children that the kernel shows with the NICs of all guests that run. Of all that speaks for a
/// child the best counts first. `before` is the result of the last time: what is joined stays joined while
/// both sides are there. `homes` says whose namespaces are known.
pub(super) fn join(facts: &Facts<'_>, inventory: &Inventory, before: &Joins, homes: &Homes) -> Joins {
    let case = Case::open(facts, inventory, before, homes);
    let children = facts.snapshot.children.iter();
    let mut all: Vec<Evidence> = children.flat_map(|(child, seen)| case.of(child, seen)).collect();
    all.sort();
    let mut joins = Joins::default();
    for Evidence { by, nic, child, .. } in all {
        let RunningNic { key, told, .. } = &case.nics[nic];
        let is_anothers = || joins.guests_in(child.netns).any(|guest| *guest != key.guest);
        if told.is_some() || !is_anothers() {
            joins.add(child, key, by);
        }
    }
    joins.add_siblings(facts.snapshot);
    joins
}

#[cfg(test)]
mod tests;
