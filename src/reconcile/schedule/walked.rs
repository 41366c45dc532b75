//! What became of the steps of a plan.

use super::history::Error;
use crate::model::Step;

/// A step of a plan, and what became of it.
#[derive(Debug)]
pub struct Walked<'a> {
    /// The step.
    pub step: &'a Step,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It ran.
    Ran {
        /// Whether it succeeded.
        result: Result<(), Error>,
        /// It has failed with this very error before.
        is_known: bool,
    },
    /// Its own time has not come: its object must be surplus for longer, or it failed and backs off.
    Waits,
    /// Something that must come before it has not happened.
    Held,
}

impl Walked<'_> {
    /// How it went, if it ran.
    pub fn result(&self) -> Option<&Result<(), Error>> {
        match &self.outcome {
            Outcome::Ran { result, .. } => Some(result),
            Outcome::Waits | Outcome::Held => None,
        }
    }
}
