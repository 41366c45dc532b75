//! The account of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::burst;
use crate::quiet::Converged;

/// The account of a run: what was done, and what came of it.
#[derive(Debug)]
pub struct Account {
    /// The seed that repeats it.
    pub seed: u64,
    /// The number of bursts.
    pub bursts: usize,
    /// The violations, a sentence each.
    pub violations: Vec<String>,
    /// By kind: how often it was done, and how often it was not possible.
    operations: BTreeMap<&'static str, (usize, usize)>,
    converged: Vec<Converged>,
}

impl Account {
    pub(crate) fn new(seed: u64) -> Account {
        Account {
            seed,
            bursts: 0,
            violations: Vec::new(),
            operations: BTreeMap::new(),
            converged: Vec::new(),
        }
    }

    pub(crate) fn did(&mut self, kind: &'static str, possible: bool) {
        let (done, not_possible) = self.operations.entry(kind).or_default();
        *if possible { done } else { not_possible } += 1;
    }

    pub(crate) fn converged(&mut self, converged: Converged) {
        self.converged.push(converged);
    }

    /// The kinds of operations that were never done, out of all kinds.
    #[must_use]
    pub fn never(&self) -> BTreeSet<&'static str> {
        let done = |kind: &&str| self.operations.get(*kind).is_some_and(|(done, _)| *done > 0);
        burst::kinds().into_iter().filter(|kind| !done(kind)).collect()
    }

    /// The number of operations that were done.
    #[must_use]
    pub fn done(&self) -> usize {
        self.operations.values().map(|(done, _)| done).sum()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5} {:>12}", "done", "not possible")?;
        for (kind, (done, not_possible)) in &self.operations {
            writeln!(f, "{done:>5} {not_possible:>12}  {kind}")?;
        }
        writeln!(f, "{:>5} {:>12}  operations in {} bursts", self.done(), "", self.bursts)?;
        writeln!(f, "never: {}", self.never().into_iter().collect::<Vec<_>>().join("; "))?;
        for (told, which) in [(true, "all events reported"), (false, "not all events reported")] {
            let bursts: Vec<&Converged> = self.converged.iter().filter(|c| c.told == told).collect();
            let state = Spread::of(bursts.iter().map(|c| c.state));
            let reach = Spread::of(bursts.iter().map(|c| c.reach));
            writeln!(f, "{which}: {} bursts, the state was right after {state},", bursts.len())?;
            writeln!(f, "    packets arrived after {reach}")?;
        }
        let by_events = self.converged.iter().filter(|c| c.by_events).count();
        writeln!(
            f,
            "by events alone, because the daemon had not looked again since its start: {by_events} bursts"
        )?;
        write!(f, "violations: {}, seed: {}", self.violations.len(), self.seed)
    }
}

/// Of several times.
struct Spread {
    median: Duration,
    most: Duration,
}

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Spread {
        let mut all: Vec<Duration> = times.collect();
        all.sort();
        let median = all.get(all.len() / 2).copied().unwrap_or_default();
        Spread { median, most: all.last().copied().unwrap_or_default() }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s (median), {:.2} s (most)", self.median.as_secs_f64(), self.most.as_secs_f64())
    }
}
