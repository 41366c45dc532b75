//! A check.

use super::finding::{Finding, Gap};
use super::survey::Survey;
use crate::model::Code;

/// What a check found; nothing if all is good.
pub(super) type Findings = Result<Vec<Finding>, Gap>;

/// A check.
pub(super) struct Check {
    /// The codes that it may find. The first stands for the check.
    pub(super) codes: &'static [Code],
    /// What is true if nothing was found, in a sentence.
    pub(super) good: &'static str,
    /// The check itself.
    pub(super) find: fn(&Survey) -> Findings,
}
