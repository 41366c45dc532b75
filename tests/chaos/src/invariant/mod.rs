//! The invariants of a quiet moment. Each check describes in sentences the ones that do not hold.

pub(crate) mod foreign;
pub(crate) mod ours;
pub(crate) mod reach;
pub(crate) mod status;

/// Adds a sentence if something does not hold.
pub(crate) fn must(violations: &mut Vec<String>, holds: bool, otherwise: impl FnOnce() -> String) {
    if !holds {
        violations.push(otherwise());
    }
}
