//! The numbers that the loop counts. Each is counted where it happens, and nothing depends on them.
//!
//! | module | contents |
//! | --- | --- |
//! | `repairs` | the objects that we made, so that one that has to be made again is noticed |
//! | `reactions` | the time from the reading of a guest's change to its route |
//! | `probes` | the questions to the LAN whose answer is not known yet |

mod probes;
mod reactions;
mod repairs;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use self::probes::OpenProbes;
use self::reactions::ReactionClock;
use self::repairs::MadeObjects;
use crate::model::plan::Scope;
use crate::model::tally::{LanAnswer, ResyncTrigger, Tally};
use crate::model::{Changes, Op, Snapshot};
use crate::reconcile::Desired;
use crate::reconcile::schedule::{Error, Outcome, Walked};
use crate::report::Conflict;

/// The numbers, and the memory that counting takes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    tally: Tally,
    made: MadeObjects,
    clock: ReactionClock,
    probes: OpenProbes,
    conflicts: BTreeSet<Conflict>,
}

impl Counters {
    /// Nothing is counted yet. The configuration was just loaded.
    pub(super) fn new() -> Counters {
        let tally = Tally { config_loaded: Some(SystemTime::now().into()), ..Tally::default() };
        Counters { tally, ..Counters::default() }
    }

    /// The numbers up to now.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The loop has nothing more to do, or gives way to other work.
    pub(super) fn passed(&mut self) {
        self.tally.last_pass = Some(SystemTime::now().into());
    }

    /// Another configuration is in force.
    pub(super) fn configured(&mut self) {
        self.tally.config_loaded = Some(SystemTime::now().into());
    }

    /// The host's whole state is about to be read.
    pub(super) fn resync(&mut self, trigger: ResyncTrigger) {
        *self.tally.resyncs.entry(trigger).or_default() += 1;
    }

    /// Events were read from `began` on, with these changes.
    pub(super) fn read(&mut self, began: Instant, changes: &Changes, snapshot: &Snapshot) {
        self.clock.read(began, &changes.causes);
        if !changes.is_empty() {
            self.answered(snapshot, Instant::now());
        }
    }

    /// Counts the questions whose answers the kernel shows by now.
    fn answered(&mut self, snapshot: &Snapshot, now: Instant) {
        for answer in self.probes.answered(snapshot, now) {
            *self.tally.probes.entry(answer).or_default() += 1;
        }
    }

    /// A question to the LAN was put, or could not be.
    pub(super) fn asked(&mut self, question: &Op, now: Instant, result: &Result<(), Error>) {
        match result {
            Ok(()) => self.probes.put(question, now),
            Err(_) => *self.tally.probes.entry(LanAnswer::Failed).or_default() += 1,
        }
    }

    /// An op of a plan has just succeeded.
    pub(super) fn did(&mut self, op: &Op, desired: &Desired) {
        if let Some(time) = self.clock.did(op, desired, Instant::now()) {
            self.tally.reactions.add(time);
        }
    }

    /// A plan was walked through, which is complete for its scope.
    pub(super) fn walked(&mut self, walked: &[Walked<'_>], scope: &Scope, desired: &Desired) {
        for Walked { step, outcome } in walked {
            if let Outcome::Ran { result, .. } = outcome {
                self.ended(&step.op, result);
            }
        }
        self.clock.walked(walked, scope, desired);
    }

    /// An op has ended.
    pub(super) fn ended(&mut self, op: &Op, result: &Result<(), Error>) {
        let Some(kind) = op.kind() else { return };
        *self.tally.operations.entry((kind, result.is_ok())).or_default() += 1;
        if result.is_ok() && self.made.take_in(op) {
            *self.tally.repairs.entry(kind.object).or_default() += 1;
        }
    }

    /// These claims to addresses of others stand now. Those that did not stand at the last look are counted.
    pub(super) fn conflicts(&mut self, now: BTreeSet<Conflict>) {
        for conflict in now.difference(&self.conflicts) {
            *self.tally.conflicts.entry(conflict.code).or_default() += 1;
        }
        self.conflicts = now;
    }
}

#[cfg(test)]
mod tests;
