//! One decision and what follows from it.

use std::time::Instant;

use super::{Desired, amend, desire, desired::Memory, diff, diff_at};
use crate::config::Config;
use crate::model::plan::Scope;
use crate::model::{Changes, Inventory, Plan, Snapshot};

/// Brings `desired` up to date with what has changed, and says what has to be done, and what that is about: only what
/// the changes concern where that is possible, else everything.
pub fn decide(
    desired: &mut Desired,
    config: &Config,
    inventory: &Inventory,
    snapshot: &Snapshot,
    memory: &mut Memory,
    changes: &Changes,
    now: Instant,
) -> (Plan, Scope) {
    match amend(desired, config, snapshot, &mut memory.tenure, changes, now) {
        Some(addresses) => (diff_at(desired, snapshot, &addresses), Scope::Addresses(addresses)),
        None => {
            *desired = desire(config, inventory, snapshot, memory, now);
            (diff(desired, snapshot), Scope::All)
        }
    }
}
