//! The account of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::quiet::Converged;

/// The account of a run: what was done and what came of it.
#[derive(Debug)]
pub struct Account {
    /// The seed that it can be repeated with.
    pub seed: u64,
    /// How many bursts there were.
    pub bursts: usize,
    /// What did not hold, a sentence each.
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

    /// How many operations were done.
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
        let times = |which: fn(&Converged) -> Duration| {
            let mut all: Vec<Duration> = self.converged.iter().map(which).collect();
            all.sort();
            let middle = all.get(all.len() / 2).copied().unwrap_or_default();
            (middle, all.last().copied().unwrap_or_default())
        };
        for (what, (median, max)) in
            [("the state was right", times(|c| c.state)), ("packets arrived", times(|c| c.reach))]
        {
            writeln!(
                f,
                "{what} after {:.2} s (median), {:.2} s (max)",
                median.as_secs_f64(),
                max.as_secs_f64()
            )?;
        }
        write!(f, "violations: {}, seed: {}", self.violations.len(), self.seed)
    }
}
