//! When the steps of a plan may run. The time is passed in.
//!
//! * A delete waits for a breath: it runs only once its object was surplus for that long without a break.
//! * An op that failed is tried again with back-off. One that succeeded but has to be done again and again, for
//!   somebody else undoes it, is done once a second.
//! * What waits or failed holds back what must come after it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::model::plan::When;
use crate::model::{Op, Plan, Step};

/// How long an object must be surplus before it is deleted.
pub const BREATH: Duration = Duration::from_millis(200);
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
/// So many ops are remembered at most. A guest that flips through addresses must not fill our memory.
const MAX_HISTORY: usize = 8192;

/// What the schedule remembers between plans.
#[derive(Debug, Default)]
pub struct Schedule {
    surplus: BTreeMap<Op, Instant>,
    history: BTreeMap<Op, History>,
    /// What we made or deleted since the last plan: link, destination, and whether it was a delete.
    turned: BTreeSet<(String, Option<IpNet>, bool)>,
}

/// What became of an op so far.
#[derive(Debug, Clone)]
pub struct History {
    /// How often it ran in a row.
    pub rounds: u32,
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
    /// A stable code.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// One walk through a plan. Ask [`Schedule::is_due`] for each step in order and tell the [`Schedule`] what
/// became of it.
#[derive(Debug, Default)]
pub struct Round {
    /// Shims that are not there, or not up.
    held_shims: BTreeSet<String>,
    /// Shims that are not complete, and so must not go up.
    incomplete: BTreeSet<String>,
    /// Own addresses of shims that are not there.
    held_sources: BTreeSet<IpAddr>,
    /// Addresses whose route still leads where it should no longer.
    held_moves: BTreeSet<IpAddr>,
    held_hosts: BTreeSet<(String, IpAddr)>,
    held_routes: BTreeSet<bool>,
    /// When the next step that had to wait is due.
    pub wake: Option<Instant>,
}

impl Schedule {
    /// Takes in a new plan: what is no longer surplus loses its waiting time, and what has long been quiet
    /// its history.
    pub fn begin(&mut self, plan: &Plan, now: Instant) -> Round {
        let waiting: BTreeSet<&Op> =
            plan.iter().filter(|step| step.when == When::AfterBreath).map(|step| &step.op).collect();
        self.surplus.retain(|op, _| waiting.contains(op));
        for op in waiting {
            self.surplus.entry(op.clone()).or_insert(now);
        }
        self.forget_what_we_turned();
        let planned: BTreeSet<&Op> = plan.iter().map(|step| &step.op).collect();
        let crowded = self.history.len() > MAX_HISTORY;
        self.history.retain(|op, history| match history.error {
            Some(_) => planned.contains(op),
            None => !history.is_over(now) && (!crowded || history.rounds > FIGHT_ROUNDS),
        });
        Round::default()
    }

    /// True if a step may run now. If not, what depends on it is held back too.
    pub fn is_due(&self, round: &mut Round, step: &Step, now: Instant) -> bool {
        if round.is_held(&step.op) {
            round.hold(&step.op);
            return false;
        }
        let breath = self.surplus.get(&step.op).map(|since| *since + BREATH);
        let back_off = self.history.get(&step.op).map(|history| history.not_before);
        let due = breath.into_iter().chain(back_off).max().filter(|due| *due > now);
        if let Some(due) = due {
            round.wake = Some(round.wake.map_or(due, |wake| wake.min(due)));
            round.hold(&step.op);
        }
        due.is_none()
    }

    /// Remembers what became of a step that ran.
    pub fn ran(&mut self, round: &mut Round, op: &Op, now: Instant, result: Result<(), Error>) {
        let before = self.history.get(op).filter(|history| !history.is_over(now));
        let rounds = before.map_or(1, |history| history.rounds.saturating_add(1));
        let failed = result.is_err();
        let pause = match (failed, rounds > FIGHT_ROUNDS) {
            (true, _) => back_off(rounds),
            (false, true) => FIGHT_PAUSE,
            (false, false) => Duration::ZERO,
        };
        let not_before = now + pause;
        if failed {
            round.hold(op);
            round.wake = Some(round.wake.map_or(not_before, |wake| wake.min(not_before)));
        } else {
            let (link, destination) = op.object();
            self.turned.insert((link.to_owned(), destination, op.deletes()));
        }
        self.history.insert(op.clone(), History { rounds, last: now, not_before, error: result.err() });
    }

    /// What we deleted ourselves and make anew, or the other way round, nobody else undid.
    fn forget_what_we_turned(&mut self) {
        let turned = std::mem::take(&mut self.turned);
        if turned.is_empty() {
            return;
        }
        self.history.retain(|op, _| {
            let (link, destination) = op.object();
            let other = !op.deletes();
            let link_gone = other && turned.contains(&(link.to_owned(), None, true));
            !link_gone && !turned.contains(&(link.to_owned(), destination, other))
        });
    }

    /// The error of an op's last try, if that failed.
    pub fn error_of(&self, op: &Op) -> Option<&Error> {
        self.history.get(op).and_then(|history| history.error.as_ref())
    }

    /// Forgets all waiting: the next plan is tried at once.
    pub fn retry(&mut self) {
        self.history.clear();
    }

    /// How many ops it remembers. A guest that flips through addresses cannot make this grow without bound.
    pub fn remembered(&self) -> usize {
        self.surplus.len() + self.history.len()
    }

    /// The ops that fail now, each with its last error.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &Error)> {
        self.history.iter().filter_map(|(op, history)| Some((op, history.error.as_ref()?)))
    }

    /// The ops that somebody else keeps undoing.
    pub fn fights(&self, now: Instant) -> impl Iterator<Item = (&Op, &History)> {
        self.history.iter().filter(move |(_, history)| {
            history.error.is_none() && history.rounds > FIGHT_ROUNDS && !history.is_over(now)
        })
    }
}

/// The wait after so many failures in a row, of which there is one at least.
fn back_off(failures: u32) -> Duration {
    BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACK_OFF)
}

impl Round {
    /// True if something that must come before this op has not happened.
    fn is_held(&self, op: &Op) -> bool {
        let shim = |name: &String| self.held_shims.contains(name);
        let host = |name: &String, address: &IpAddr| self.held_hosts.contains(&(name.clone(), *address));
        match op {
            Op::Probe { .. } | Op::AddRule { .. } => false,
            Op::CreateShim { shim: at, .. }
            | Op::SetMtu { shim: at, .. }
            | Op::MulticastOff { shim: at }
            | Op::Set { shim: at, .. }
            | Op::AddAddress { shim: at, .. }
            | Op::AddProxy { shim: at, .. } => shim(&at.name),
            Op::SetUp { shim: at } => shim(&at.name) || self.incomplete.contains(&at.name),
            Op::SetNeighbour { shim: at, address, .. } => shim(&at.name) || host(&at.name, address),
            Op::SetRoute { shim: at, destination, source, .. } => {
                let source = source.is_some_and(|source| self.held_sources.contains(&source));
                shim(&at.name) || host(&at.name, &destination.addr()) || source
            }
            Op::DeleteRule { ipv6, .. } => self.held_routes.contains(ipv6),
            Op::DeleteRoute { link_name, destination, .. } => host(link_name, &destination.addr()),
            Op::DeleteNeighbour { link_name, address, .. } => {
                host(link_name, address) || self.held_moves.contains(address)
            }
            Op::DeleteProxy { .. } | Op::DeleteAddress { .. } => false,
            Op::DeleteShim { link_name, .. } => shim(link_name),
        }
    }

    /// Holds back what must come after an op that has not happened.
    fn hold(&mut self, op: &Op) {
        match op {
            Op::CreateShim { shim, .. } | Op::SetUp { shim } => {
                self.held_shims.insert(shim.name.clone());
            }
            Op::MulticastOff { shim } | Op::Set { shim, .. } => {
                self.incomplete.insert(shim.name.clone());
            }
            Op::AddAddress { address, .. } => {
                self.held_sources.insert(*address);
            }
            Op::SetNeighbour { shim, address, .. } => {
                self.held_hosts.insert((shim.name.clone(), *address));
            }
            Op::SetRoute { shim, destination, replace, .. } => {
                self.held_hosts.insert((shim.name.clone(), destination.addr()));
                if *replace {
                    self.held_moves.insert(destination.addr());
                }
                self.held_routes.insert(destination.addr().is_ipv6());
            }
            Op::DeleteRoute { link_name, destination, .. } => {
                self.held_hosts.insert((link_name.clone(), destination.addr()));
                self.held_shims.insert(link_name.clone());
            }
            Op::DeleteShim { link_name, .. } => {
                self.held_shims.insert(link_name.clone());
            }
            Op::SetMtu { .. }
            | Op::DeleteNeighbour { .. }
            | Op::AddProxy { .. }
            | Op::Probe { .. }
            | Op::AddRule { .. }
            | Op::DeleteRule { .. }
            | Op::DeleteProxy { .. }
            | Op::DeleteAddress { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ShimRef;

    fn add() -> Step {
        let shim = ShimRef { name: "mvs-eth0".to_owned(), index: Some(7) };
        let destination = "192.168.100.253/32".parse().unwrap();
        let op = Op::SetRoute { shim, destination, source: None, table: 254, replace: false };
        Step { op, when: When::Now, why: String::new() }
    }

    fn delete() -> Step {
        let destination = "192.168.100.253/32".parse().unwrap();
        let op =
            Op::DeleteRoute { link: 7, link_name: "mvs-eth0".to_owned(), destination, table: 254, metric: 0 };
        Step { op, when: When::Now, why: String::new() }
    }

    /// Runs a plan of one step, if it is due.
    fn run(schedule: &mut Schedule, step: &Step, now: Instant) -> bool {
        let mut round = schedule.begin(&vec![step.clone()], now);
        let due = schedule.is_due(&mut round, step, now);
        if due {
            schedule.ran(&mut round, &step.op, now, Ok(()));
        }
        due
    }

    #[test]
    fn a_guest_that_restarts_again_and_again_is_no_fight() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        for _ in 0..30 {
            for step in [add(), delete()] {
                now += Duration::from_millis(100);
                assert!(run(&mut schedule, &step, now));
                assert_eq!(schedule.fights(now).count(), 0);
            }
        }
    }

    #[test]
    fn what_others_undo_again_and_again_is_done_once_a_second() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        let mut ran = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            ran += u32::from(run(&mut schedule, &add(), now));
        }
        assert!((13..=16).contains(&ran), "{ran} times in 10 s");
        assert_eq!(schedule.fights(now).count(), 1);
    }
}
