//! The outcome of the steps of a plan.

use super::history::Error;
use crate::model::Step;

/// A step of a plan, and its outcome.
#[derive(Debug)]
pub struct Walked<'a> {
    /// The step.
    pub step: &'a Step,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The outcome of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It ran, and has ended.
    Ran {
        /// Whether it succeeded.
        result: Result<(), Error>,
        /// It has failed with this very error before.
        is_known: bool,
    },
    /// It has begun, and its end will be known later ([`super::Schedule::ended`]).
    Begun,
    /// Its own time has not come: its object must be surplus for longer, or it failed and backs off.
    Waits,
    /// Something that must come before it has not happened.
    Held,
}

impl Walked<'_> {
    /// Whether it has run, or has begun.
    pub fn has_run(&self) -> bool {
        matches!(self.outcome, Outcome::Ran { .. } | Outcome::Begun)
    }

    /// Its result, if it ran and has ended.
    pub fn result(&self) -> Option<&Result<(), Error>> {
        match &self.outcome {
            Outcome::Ran { result, .. } => Some(result),
            Outcome::Begun | Outcome::Waits | Outcome::Held => None,
        }
    }
}
