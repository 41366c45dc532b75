//! When the steps of a plan may run. The time is passed in.
//!
//! * A delete waits for a breath: it runs only once its object was surplus for that long without a break. An
//!   address that has moved from one guest to another waits for a blink.
//! * An op that failed is retried with back-off. It is also retried at once when its shim itself was repaired
//!   and, the first times, when something else of the host has changed. An op that succeeds but is needed
//!   again and again, because somebody else undoes it, runs once a second.
//! * An op that waits, is under way or failed holds back the ops that must come after it, and no others. If
//!   its link is gone, the others on that link would fail too, so they wait for the next plan.
//! * An address is looked at again if no event has shown the effect of an op within a second.

mod failures;
mod history;
mod holds;
mod walked;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

pub use self::history::{Error, History};
use self::history::{Track, Tracks, back_off};
use self::holds::Holds;
pub use self::walked::{Outcome, Walked};
use crate::model::plan::{Progress, Scope, When};
use crate::model::{Changes, Code, Op, Plan, Step};

/// How long an object must be surplus before it is deleted.
pub const BREATH: Duration = Duration::from_millis(200);
/// How long an address must be away from its last holder before another guest has it. A DHCP renewal takes 1
/// ms, and a takeover by VRRP must not be noticed.
pub const BLINK: Duration = Duration::from_millis(20);
/// Maximum number of times in a row that an op may be needed again before it counts as a fight.
const FIGHT_ROUNDS: u32 = 5;
/// How long an op waits in a fight. A link that flaps looks like a fight too, so this is short.
const FIGHT_PAUSE: Duration = Duration::from_secs(1);
/// How long a step that has begun may take before the plan is looked at again. Its end is an event, so this
/// is a precaution.
const WATCH: Duration = Duration::from_secs(1);
/// How long the effect of an op about an address may take to be seen before the address is looked at again. The
/// kernel sometimes reports success and has done nothing (FACTS 66).
const UNSEEN: Duration = Duration::from_secs(1);
/// Number of addresses with a history from which on finished ones are searched for. A guest that flips
/// through addresses must not fill our memory.
const CROWD: usize = 512;

/// The memory of the schedule between plans.
#[derive(Debug, Default)]
pub struct Schedule {
    /// By the subject of the ops ([`Op::address`]).
    tracks: BTreeMap<Option<IpAddr>, Tracks>,
    /// When the next step that had to wait is due, by its subject.
    alarms: BTreeMap<Option<IpAddr>, Instant>,
    /// The ops that are held back by steps that are about no single address.
    held: Holds,
    /// The objects that we made or deleted since the last plan: link, destination, and whether it was a
    /// delete.
    turned: BTreeSet<(String, Option<IpNet>, bool)>,
    /// The steps that have begun, and whose end is not known yet.
    under_way: Vec<Step>,
    /// The number of addresses from which on the next search is due.
    crowd: usize,
}

/// The ops that one walk through a plan holds back.
#[derive(Debug, Default)]
struct Round {
    held: Holds,
}

/// Whether a step may run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Due,
    /// Its own time has not come.
    Waits,
    /// Something that must come before it has not happened.
    Held,
}

impl Schedule {
    /// Walks through a new plan, which is complete for its scope. `apply` runs each step that is due. The
    /// time is asked for again at each step, because running one takes some.
    pub fn walk<'a>(
        &mut self,
        plan: &'a Plan,
        scope: &Scope,
        now: impl Fn() -> Instant,
        mut apply: impl FnMut(&Step) -> Result<Progress, Error>,
    ) -> Vec<Walked<'a>> {
        let mut round = self.begin(plan, scope, now());
        let mut walked = Vec::with_capacity(plan.len());
        for step in plan {
            let outcome = match self.readiness(&mut round, step, now()) {
                Readiness::Due => {
                    let result = match apply(step) {
                        Ok(Progress::Begun) => {
                            self.began(&mut round, step, now());
                            walked.push(Walked { step, outcome: Outcome::Begun });
                            continue;
                        }
                        result => result.map(drop),
                    };
                    let is_known = self.is_known(&step.op, &result);
                    self.ran(&mut round, &step.op, now(), result.clone());
                    Outcome::Ran { result, is_known }
                }
                Readiness::Waits => Outcome::Waits,
                Readiness::Held => Outcome::Held,
            };
            walked.push(Walked { step, outcome });
        }
        walked
    }

    /// Takes in a new plan, which is complete for its scope. Objects that are no longer surplus lose their
    /// waiting time, and ops that have long been quiet lose their history.
    fn begin(&mut self, plan: &Plan, scope: &Scope, now: Instant) -> Round {
        self.forget_our_own_reversals();
        let mut planned: BTreeMap<Option<IpAddr>, BTreeMap<&Op, When>> = BTreeMap::new();
        for step in plan {
            planned.entry(step.op.address()).or_default().insert(&step.op, step.when);
        }
        let subjects: Vec<Option<IpAddr>> = match scope {
            Scope::All => self.tracks.keys().chain(self.alarms.keys()).copied().collect(),
            Scope::Addresses(addresses) => addresses.iter().copied().map(Some).collect(),
        };
        let nothing = BTreeMap::new();
        for subject in subjects {
            self.alarms.remove(&subject);
            self.take_stock(subject, planned.get(&subject).unwrap_or(&nothing), now);
        }
        let waiting = plan.iter().filter(|step| step.when.waits());
        for Step { op, when, .. } in waiting {
            self.track_mut(op).surplus.get_or_insert((*when, now));
        }
        if self.tracks.len() > self.crowd.max(CROWD) {
            self.forget_finished_ops(now);
            self.crowd = self.tracks.len() * 2;
        }
        let mut round = match scope {
            Scope::All => {
                self.held = Holds::default();
                Round::default()
            }
            Scope::Addresses(_) => Round { held: self.held.clone() },
        };
        self.under_way.iter().for_each(|step| round.held.add_under_way(&step.op, now + WATCH));
        round
    }

    /// Whether a step may run now. If not, the steps that depend on it are held back too.
    fn readiness(&mut self, round: &mut Round, step: &Step, now: Instant) -> Readiness {
        let own = self.own_time(&step.op).filter(|due| *due > now);
        if let Some(due) = round.held.hold_back(&step.op) {
            // A step about an address is looked at again with the step that holds it back. A step about no
            // address is not, if the other is about an address.
            if step.op.address().is_none() {
                self.set_alarm(&step.op, due);
            }
            self.hold(round, &step.op, due);
            // A filter that waits for another change counts as under way, and its shim waits with it.
            round.held.add_under_way(&step.op, due);
            return if own.is_some() { Readiness::Waits } else { Readiness::Held };
        }
        let Some(due) = own else { return Readiness::Due };
        self.set_alarm(&step.op, due);
        self.hold(round, &step.op, due);
        Readiness::Waits
    }

    /// When an op may run as far as its own history is concerned.
    fn own_time(&self, op: &Op) -> Option<Instant> {
        let track = self.track(op)?;
        let patient = track.surplus.map(|(when, since)| since + patience(when));
        let back_off = track.history.as_ref().map(|history| history.not_before);
        patient.into_iter().chain(back_off).max()
    }

    /// A step has begun, and its end will be known later ([`Schedule::ended`]). The steps that must come
    /// after it wait.
    fn began(&mut self, round: &mut Round, step: &Step, now: Instant) {
        self.under_way.push(step.clone());
        round.held.add_under_way(&step.op, now + WATCH);
        self.set_alarm(&step.op, now + WATCH);
    }

    /// A step that had begun has ended. Returns it.
    pub fn ended(&mut self, op: &Op, now: Instant, result: Result<(), Error>) -> Option<Step> {
        let at = self.under_way.iter().position(|step| step.op == *op)?;
        self.remember(op, now, result);
        Some(self.under_way.remove(at))
    }

    /// Whether a step has begun and not ended.
    pub fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Remembers the outcome of a step that ran.
    fn ran(&mut self, round: &mut Round, op: &Op, now: Instant, result: Result<(), Error>) {
        let is_gone = result.as_ref().is_err_and(|error| error.code == Code::LinkGone);
        let Some(not_before) = self.remember(op, now, result) else { return };
        self.hold(round, op, not_before);
        if is_gone {
            let (link, _) = op.object();
            round.held.add_gone(link, not_before);
            self.held.add_gone(link, not_before);
            // Everything is decided again then, even if no event reports its end.
            self.set_alarm_at(None, not_before);
        }
    }

    /// Remembers the outcome of an op, and when it is retried if it failed.
    fn remember(&mut self, op: &Op, now: Instant, result: Result<(), Error>) -> Option<Instant> {
        let before =
            self.track(op).and_then(|track| track.history.as_ref()).filter(|history| !history.is_over(now));
        let rounds = before.map_or(1, |history| history.rounds.saturating_add(1));
        let failed = result.is_err();
        let failures =
            if failed { before.map_or(1, |history| history.failures.saturating_add(1)) } else { 0 };
        let pause = match (failed, rounds > FIGHT_ROUNDS) {
            (true, _) => back_off(failures),
            (false, true) => FIGHT_PAUSE,
            (false, false) => Duration::ZERO,
        };
        let not_before = now + pause;
        if failed {
            self.set_alarm(op, not_before);
        } else {
            let (link, destination) = op.object();
            self.turned.insert((link.to_owned(), destination, op.deletes()));
            // An event shows the effect at once, and leads to the next plan for the address.
            if op.address().is_some() {
                self.set_alarm(op, now + UNSEEN);
            }
        }
        self.track_mut(op).history =
            Some(History { rounds, failures, last: now, not_before, error: result.err() });
        failed.then_some(not_before)
    }

    /// When something that had to wait is due.
    pub fn wake(&self) -> Option<Instant> {
        self.alarms.values().min().copied()
    }

    /// The scope that has to be looked at again because something that had to wait is due.
    pub fn due(&self, now: Instant) -> Changes {
        let due = || self.alarms.iter().filter(|(_, due)| **due <= now).map(|(subject, _)| *subject);
        Changes {
            all: due().any(|subject| subject.is_none()),
            addresses: due().flatten().collect(),
            ..Changes::default()
        }
    }

    fn track(&self, op: &Op) -> Option<&Track> {
        self.tracks.get(&op.address())?.iter().find(|(other, _)| other == op).map(|(_, track)| track)
    }

    fn track_mut(&mut self, op: &Op) -> &mut Track {
        let tracks = self.tracks.entry(op.address()).or_insert_with(|| Vec::with_capacity(2));
        let at = tracks.iter().position(|(other, _)| other == op).unwrap_or_else(|| {
            tracks.push((op.clone(), Track::default()));
            tracks.len() - 1
        });
        &mut tracks[at].1
    }

    fn set_alarm(&mut self, op: &Op, due: Instant) {
        self.set_alarm_at(op.address(), due);
    }

    fn set_alarm_at(&mut self, subject: Option<IpAddr>, due: Instant) {
        let alarm = self.alarms.entry(subject).or_insert(due);
        *alarm = due.min(*alarm);
    }

    /// Holds back the ops that must come after an op that has not happened. If that op is about no single
    /// address, they are held back until the next plan of everything.
    fn hold(&mut self, round: &mut Round, op: &Op, due: Instant) {
        round.held.add(op, due);
        if op.address().is_none() {
            self.held.add(op, due);
        }
    }

    /// Of the ops about one thing, keeps those that still count, given the planned ones.
    fn take_stock(&mut self, subject: Option<IpAddr>, planned: &BTreeMap<&Op, When>, now: Instant) {
        let Some(tracks) = self.tracks.get_mut(&subject) else { return };
        tracks.retain_mut(|(op, track)| {
            let plan = planned.get(op);
            track.surplus = track.surplus.filter(|(when, _)| plan == Some(when));
            track.history = track.history.take().filter(|history| match history.error {
                Some(_) => plan.is_some(),
                None => !history.is_over(now),
            });
            track.surplus.is_some() || track.history.is_some()
        });
        if tracks.is_empty() {
            self.tracks.remove(&subject);
        }
    }

    /// Keeps ops that wait, have failed or are in a fight. To be called now and then. An op that is needed
    /// once more is counted from the beginning.
    pub fn forget_finished_ops(&mut self, now: Instant) {
        self.tracks.retain(|_, tracks| {
            tracks.retain(|(_, track)| {
                let counts = |history: &History| {
                    history.error.is_some() || (history.rounds > FIGHT_ROUNDS && !history.is_over(now))
                };
                track.surplus.is_some() || track.history.as_ref().is_some_and(counts)
            });
            !tracks.is_empty()
        });
    }

    /// The host has changed, beyond some addresses of guests. An op may have failed for want of an object
    /// that exists now. It is tried at once if the next plan still has it, unless it has failed too often for
    /// that to be the reason.
    pub fn host_changed(&mut self) {
        let histories = self.tracks.values_mut().flatten().filter_map(|(_, track)| track.history.as_mut());
        for history in histories.filter(|history| (1..=FIGHT_ROUNDS).contains(&history.failures)) {
            history.not_before = history.last;
        }
    }

    /// Forgets all waiting. The next plan is tried at once.
    pub fn retry(&mut self) {
        self.tracks.values_mut().flatten().for_each(|(_, track)| track.history = None);
    }
}

fn patience(when: When) -> Duration {
    match when {
        When::Now => Duration::ZERO,
        When::AfterBlink => BLINK,
        When::AfterBreath => BREATH,
    }
}

#[cfg(test)]
mod tests;
