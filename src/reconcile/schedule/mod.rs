//! When the steps of a plan may run. The time is passed in.
//!
//! * A delete waits for a breath: it runs only once its object was surplus for that long without a break. An address
//!   that has gone from one guest to another waits for a blink.
//! * An op that failed is tried again with back-off, and at once when its shim itself was put right, or when something
//!   else of the host has changed, the first times. One that succeeded but has to be done again and again, for somebody
//!   else undoes it, is done once a second.
//! * What waits, is under way or failed holds back what must come after it, and nothing else.

mod holds;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use self::holds::Holds;
use crate::model::plan::{Scope, When};
use crate::model::{Changes, Code, Op, Plan, Step};

/// How long an object must be surplus before it is deleted.
pub const BREATH: Duration = Duration::from_millis(200);
/// How long an address must be away from its last holder before another guest has it. A DHCP renewal takes 1 ms, and
/// a takeover by VRRP shall not be noticed.
pub const BLINK: Duration = Duration::from_millis(20);
/// The first wait after a failure; it doubles with each further one.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);
/// So many times in a row an op may be needed again before it counts as a fight.
const FIGHT_ROUNDS: u32 = 5;
/// In a fight an op runs so often at most. A link that flaps looks like a fight too, and must not wait long.
const FIGHT_PAUSE: Duration = Duration::from_secs(1);
/// An op that was not needed for so long, beyond twice its back-off, starts from the beginning.
const QUIET: Duration = Duration::from_secs(1);
/// How long a step that is begun may take before the plan is looked at again. Its end is an event, so this is a precaution.
const WATCH: Duration = Duration::from_secs(1);
/// So many addresses may have a history before it is looked through for what is over. A guest that flips through
/// addresses must not fill our memory.
const CROWD: usize = 512;

/// What the schedule remembers between plans.
#[derive(Debug, Default)]
pub struct Schedule {
    /// By what the ops are about ([`Op::address`]).
    tracks: BTreeMap<Option<IpAddr>, Tracks>,
    /// When the next step that had to wait is due, by what it is about.
    alarms: BTreeMap<Option<IpAddr>, Instant>,
    /// What is held back by steps that are about no single address.
    held: Holds,
    /// What we made or deleted since the last plan: link, destination, and whether it was a delete.
    turned: BTreeSet<(String, Option<IpNet>, bool)>,
    /// The steps that are begun, and whose end is not known yet.
    under_way: Vec<Step>,
    /// The next number of addresses that is a crowd.
    crowd: usize,
}

/// What is remembered of the ops about one thing: of few, so that a list takes the least time and memory.
type Tracks = Vec<(Op, Track)>;

/// What is remembered of one op.
#[derive(Debug, Default)]
struct Track {
    /// What it waits for, and since when without a break, if it waits.
    surplus: Option<(When, Instant)>,
    history: Option<History>,
}

/// What became of an op so far.
#[derive(Debug, Clone)]
pub struct History {
    /// How often it ran in a row.
    pub rounds: u32,
    /// How many of the last of these failed.
    failures: u32,
    /// When it ran last.
    pub last: Instant,
    /// Before this it is not tried again.
    pub not_before: Instant,
    /// Why the last try failed; `None` if it succeeded.
    pub error: Option<Error>,
}

impl History {
    /// The op was not needed for so long that this run says nothing about the next one.
    fn is_over(&self, now: Instant) -> bool {
        let back_off = self.not_before.duration_since(self.last);
        now.duration_since(self.last) > back_off * 2 + QUIET
    }
}

/// Why an op failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Its code in the catalogue.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// One walk through a plan. Ask [`Schedule::is_due`] for each step in order and tell the [`Schedule`] what
/// became of it.
#[derive(Debug, Default)]
pub struct Round {
    held: Holds,
}

impl Schedule {
    /// Takes in a new plan, which is all that has to be done for its scope: what is no longer surplus there loses its
    /// waiting time, and what has long been quiet its history.
    pub fn begin(&mut self, plan: &Plan, scope: &Scope, now: Instant) -> Round {
        self.forget_what_we_turned();
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
            self.forget_what_is_over(now);
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

    /// True if a step may run now. If not, what depends on it is held back too.
    pub fn is_due(&mut self, round: &mut Round, step: &Step, now: Instant) -> bool {
        if let Some(due) = round.held.hold_back(&step.op) {
            // What is about an address is looked at again with what holds it back. What is about none is not, if that is
            // about an address.
            if step.op.address().is_none() {
                self.set_alarm(&step.op, due);
            }
            self.hold(round, &step.op, due);
            // A filter that waits for another change is as good as under way: its shim waits with it.
            round.held.add_under_way(&step.op, due);
            return false;
        }
        let track = self.track(&step.op);
        let patient = track.and_then(|track| track.surplus).map(|(when, since)| since + patience(when));
        let back_off = track.and_then(|track| track.history.as_ref()).map(|history| history.not_before);
        let due = patient.into_iter().chain(back_off).max().filter(|due| *due > now);
        if let Some(due) = due {
            self.set_alarm(&step.op, due);
            self.hold(round, &step.op, due);
        }
        due.is_none()
    }

    /// A step is begun, and its end will be known later ([`Schedule::ended`]). What must come after it waits.
    pub fn began(&mut self, round: &mut Round, step: &Step, now: Instant) {
        self.under_way.push(step.clone());
        round.held.add_under_way(&step.op, now + WATCH);
        self.set_alarm(&step.op, now + WATCH);
    }

    /// A step that was begun has ended. Returns it.
    pub fn ended(&mut self, op: &Op, now: Instant, result: Result<(), Error>) -> Option<Step> {
        let at = self.under_way.iter().position(|step| step.op == *op)?;
        self.remember(op, now, result);
        Some(self.under_way.remove(at))
    }

    /// Whether a step is begun and has not ended.
    pub fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Remembers what became of a step that ran.
    pub fn ran(&mut self, round: &mut Round, op: &Op, now: Instant, result: Result<(), Error>) {
        if let Some(not_before) = self.remember(op, now, result) {
            self.hold(round, op, not_before);
        }
    }

    /// Remembers what became of an op; if it failed, when it is tried again.
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
        }
        self.track_mut(op).history =
            Some(History { rounds, failures, last: now, not_before, error: result.err() });
        failed.then_some(not_before)
    }

    /// When something that had to wait is due.
    pub fn wake(&self) -> Option<Instant> {
        self.alarms.values().min().copied()
    }

    /// What has to be looked at again because something that had to wait is due.
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
        let alarm = self.alarms.entry(op.address()).or_insert(due);
        *alarm = due.min(*alarm);
    }

    /// Holds back what must come after an op that has not happened. What is about no single address lasts until the
    /// next plan of all.
    fn hold(&mut self, round: &mut Round, op: &Op, due: Instant) {
        round.held.add(op, due);
        if op.address().is_none() {
            self.held.add(op, due);
        }
    }

    /// Of the ops about one thing, keeps what still counts, given those that are planned.
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

    /// Keeps what waits, what failed and what is a fight. To be called now and then: what is done once more is counted from
    /// the beginning.
    pub fn forget_what_is_over(&mut self, now: Instant) {
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

    /// What we deleted ourselves and make anew, or the other way round, nobody else undid. And when a shim itself has been
    /// put right, what failed upon it may have failed for want of that, and what was undone may have gone with it.
    fn forget_what_we_turned(&mut self) {
        for (link, destination, deletes) in std::mem::take(&mut self.turned) {
            let undone = |op: &Op| op.deletes() != deletes && op.object() == (link.as_str(), destination);
            match destination {
                Some(destination) => {
                    for subject in [None, Some(destination.addr())] {
                        let tracks = self.tracks.get_mut(&subject);
                        forget(tracks, |op, _| undone(op));
                    }
                }
                None => {
                    let upon_it = |op: &Op, history: &History| {
                        let (of, destination) = op.object();
                        let at_once = deletes || destination.is_some() || history.error.is_some();
                        of == link && !op.deletes() && at_once
                    };
                    for tracks in self.tracks.values_mut() {
                        forget(Some(tracks), |op, history| undone(op) || upon_it(op, history));
                    }
                }
            }
        }
    }

    /// The error of an op's last try, if that failed.
    pub fn error_of(&self, op: &Op) -> Option<&Error> {
        self.track(op)?.history.as_ref()?.error.as_ref()
    }

    /// The host has changed, beyond some addresses of guests: an op may have failed for want of what is there now. It is
    /// tried at once if the next plan still has it, unless it has failed too often for that to be the reason.
    pub fn host_changed(&mut self) {
        let histories = self.tracks.values_mut().flatten().filter_map(|(_, track)| track.history.as_mut());
        for history in histories.filter(|history| (1..=FIGHT_ROUNDS).contains(&history.failures)) {
            history.not_before = history.last;
        }
    }

    /// Forgets all waiting: the next plan is tried at once.
    pub fn retry(&mut self) {
        self.tracks.values_mut().flatten().for_each(|(_, track)| track.history = None);
    }

    /// How many ops it remembers. A guest that flips through addresses cannot make this grow without bound.
    pub fn remembered(&self) -> usize {
        self.tracks.values().map(Vec::len).sum()
    }

    /// The ops that fail now, each with its last error.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &Error)> {
        self.histories().filter_map(|(op, history)| Some((op, history.error.as_ref()?)))
    }

    /// Those of them that are about one address, or about none.
    pub fn failures_at(&self, address: Option<IpAddr>) -> impl Iterator<Item = (&Op, &Error)> {
        let tracks = self.tracks.get(&address).into_iter().flatten();
        tracks.filter_map(|(op, track)| Some((op, track.history.as_ref()?.error.as_ref()?)))
    }

    /// The ops that somebody else keeps undoing.
    pub fn fights(&self, now: Instant) -> impl Iterator<Item = (&Op, &History)> {
        self.histories().filter(move |(_, history)| {
            history.error.is_none() && history.rounds > FIGHT_ROUNDS && !history.is_over(now)
        })
    }

    fn histories(&self) -> impl Iterator<Item = (&Op, &History)> {
        let tracks = self.tracks.values().flatten();
        tracks.filter_map(|(op, track)| Some((op, track.history.as_ref()?)))
    }
}

fn patience(when: When) -> Duration {
    match when {
        When::Now => Duration::ZERO,
        When::AfterBlink => BLINK,
        When::AfterBreath => BREATH,
    }
}

/// Forgets the history of ops.
fn forget(tracks: Option<&mut Tracks>, which: impl Fn(&Op, &History) -> bool) {
    for (op, track) in tracks.into_iter().flatten() {
        track.history = track.history.take().filter(|history| !which(op, history));
    }
}

/// The wait after so many failures in a row, of which there is one at least.
fn back_off(failures: u32) -> Duration {
    BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACK_OFF)
}

#[cfg(test)]
mod tests;
