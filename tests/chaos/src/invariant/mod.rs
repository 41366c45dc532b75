//! What must hold in a quiet moment. Each check says in sentences what does not.

pub(crate) mod foreign;
pub(crate) mod ours;
pub(crate) mod reach;
pub(crate) mod status;

/// Adds a sentence for what does not hold.
pub(crate) fn must(violations: &mut Vec<String>, holds: bool, otherwise: impl FnOnce() -> String) {
    if !holds {
        violations.push(otherwise());
    }
}
