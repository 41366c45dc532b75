//! The owner of each child of a parent, and the reason.
//!
//! The server knows a NIC by its parent and MAC, and the kernel knows a child by its namespace and ifindex.
//! Once joined, a child stays its NIC's whatever the guest does to its MAC. If the MAC does not identify it,
//! as for a guest that has just started, the namespace of its home does. Some guests have NICs that no server
//! lists. The children in their namespace are theirs, unless it is the namespace of a guest that is known
//! better.
//!
//! | file | contents |
//! | --- | --- |
//! | `joins` | the result: the owner of each child, and the reason. The order of the reasons is a law |
//! | `evidence` | the evidence that a child is a NIC, and the evidence against it |
//! | `nics` | the NICs of the guests that run |
//! | `homes` | the namespaces of guests |
//! | `doubts` | the guests whose homes are wanted, because MACs do not identify their children |
//! | `overhear` | guests that listen in |
//! | `servers_to_ask` | the servers that are asked when children appear |

mod doubts;
mod evidence;
mod homes;
mod joins;
mod nics;
pub(super) mod overhear;
mod servers_to_ask;

pub(super) use self::doubts::doubts;
use self::evidence::{Clues, Evidence};
pub use self::homes::Homes;
pub(super) use self::homes::homes;
pub use self::joins::{By, Joined, Joins};
pub(super) use self::nics::Running;
use self::nics::RunningNic;
pub use self::servers_to_ask::servers_to_ask;
use crate::reconcile::facts::Facts;

/// Joins the children that the kernel shows with the NICs of all guests that run. Of all evidence for a child
/// the best counts first. `before` is the last result: joined children stay joined while both sides are
/// there. `homes` has the known namespaces.
pub(super) fn join(facts: &Facts<'_>, running: &Running<'_>, before: &Joins, homes: &Homes) -> Joins {
    let clues = Clues::gather(facts, running, before, homes);
    let children = facts.snapshot.children.iter();
    let mut all: Vec<Evidence> = children.flat_map(|(child, seen)| clues.of(child, seen)).collect();
    all.sort();
    let mut joins = Joins::default();
    for Evidence { by, nic, child, .. } in all {
        let RunningNic { key, told, .. } = &running.nics[nic];
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
