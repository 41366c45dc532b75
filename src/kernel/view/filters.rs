//! The commands that the thread for nft ([`Worker`]) was given, and those that it has yet to get.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::kernel::filter::{NftAnswer, NftCommand, NftError, Worker};
use crate::model::{NetnsId, Op};

/// The commands of the thread, and whether the filters are stale.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Filters {
    worker: Worker,
    /// The commands that have no answer yet, in order.
    under_way: VecDeque<UnderWay>,
    /// The ops that have ended, until somebody asks for them.
    ended: Vec<(Op, Result<(), NftError>)>,
    /// Since when the filters have been stale.
    wanted: Option<Instant>,
    /// The latest possible time of the last event about the filters.
    heard: EventTime,
    /// The namespaces whose changes the next filter is written for.
    causes: BTreeSet<NetnsId>,
    doubt: bool,
}

/// A command without an answer.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// The op that it does; `None` if it only reads.
    pub(super) op: Option<Op>,
    /// The namespaces that pay for it.
    pub(super) causes: BTreeSet<NetnsId>,
}

/// The time of an event is only known after the event was heard.
#[derive(Debug, Default, PartialEq)]
enum EventTime {
    #[default]
    Nothing,
    JustNow,
    At(Instant),
}

impl Filters {
    /// Missing abilities are to be checked again.
    pub(in crate::kernel) fn doubt(&mut self) {
        self.doubt = true;
    }

    /// An event about the filters was heard.
    pub(super) fn heard(&mut self) {
        self.heard = EventTime::JustNow;
    }

    /// Sets the time.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.heard == EventTime::JustNow {
            self.heard = EventTime::At(now);
        }
    }

    /// A child of a namespace has another MAC, or is new, or gone.
    pub(super) fn caused_by(&mut self, id: NetnsId) {
        self.causes.insert(id);
    }

    /// The filters are to be read again: at once, or when nothing is under way any more.
    pub(super) fn want(&mut self, now: Instant) {
        self.wanted = Some(now);
        self.read_again();
    }

    /// Starts a write. Its end is among the ops that have ended.
    pub(in crate::kernel) fn begin(&mut self, op: &Op, command: NftCommand) {
        let causes = std::mem::take(&mut self.causes);
        self.under_way.push_back(UnderWay { op: Some(op.clone()), causes });
        self.worker.send(command);
    }

    /// The ops that have ended since this was last asked for, each with its outcome.
    pub(in crate::kernel) fn ended(&mut self) -> Vec<(Op, Result<(), NftError>)> {
        std::mem::take(&mut self.ended)
    }

    /// The result of this op, if it has ended and was not asked for yet.
    pub(in crate::kernel) fn end_of(&mut self, op: &Op) -> Option<Result<(), NftError>> {
        let at = self.ended.iter().position(|(other, _)| other == op)?;
        Some(self.ended.remove(at).1)
    }

    /// Whether a command has no answer yet.
    pub(in crate::kernel) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Waits until there is an answer. Cancel safe.
    pub(in crate::kernel) fn ready(&self) -> impl Future<Output = ()> + use<> {
        self.worker.ready()
    }

    /// The next command that has ended, with its answer. Waits for it as long as `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Option<(UnderWay, NftAnswer)> {
        let answer = self.worker.wait(patience).filter(|_| self.is_under_way())?;
        Some((self.under_way.pop_front()?, answer))
    }

    /// An answer has a listing that was begun at that time. Returns whether an event that was deferred is in
    /// it.
    pub(super) fn listed(&mut self, since: Instant) -> bool {
        self.wanted = self.wanted.filter(|wanted| *wanted > since);
        let has_event = matches!(self.heard, EventTime::At(heard) if heard <= since);
        if has_event {
            self.heard = EventTime::Nothing;
        }
        has_event
    }

    /// An op has ended.
    pub(super) fn end(&mut self, op: Op, result: Result<(), NftError>) {
        self.ended.push((op, result));
    }

    /// Has the filters read again if that is wanted and nothing is under way.
    pub(super) fn read_again(&mut self) {
        if self.wanted.is_some() && self.under_way.is_empty() {
            self.under_way.push_back(UnderWay::default());
            self.worker.send(NftCommand::Read { doubt: std::mem::take(&mut self.doubt) });
        }
    }
}
