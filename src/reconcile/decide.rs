//! One decision and its consequences.

use super::amend::amend;
use super::desire::desire;
use super::desired::Desired;
use super::diff::{diff, diff_at};
use super::inputs::Inputs;
use super::memory::Memory;
use crate::model::plan::Scope;
use crate::model::{Changes, Plan};

/// Brings `desired` up to date with the changes. Returns the plan and its scope: only the changed addresses
/// if possible, else everything.
pub fn decide(
    desired: &mut Desired,
    memory: &mut Memory,
    inputs: &Inputs<'_>,
    changes: &Changes,
) -> (Plan, Scope) {
    match amend(desired, inputs, &memory.trust, &mut memory.tenure, changes) {
        Some(addresses) => (diff_at(desired, inputs.snapshot, &addresses), Scope::Addresses(addresses)),
        None => {
            (*desired, *memory) = desire(inputs, memory);
            (diff(desired, inputs.snapshot), Scope::All)
        }
    }
}
