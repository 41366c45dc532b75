//! A short run of chaos. `make chaos` runs it for any time.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use chaos::{Length, Options, Pace, run, seeds_of};

use crate::node::BINARY;

/// Number of bursts of a run.
const BURSTS: usize = 5;

/// Kinds that must be among them, one of each sort.
const DONE: [&str; 14] = [
    "a fight over a route",
    "a guest is deleted and launched again",
    "a second daemon is started",
    "a server answers with errors",
    "a server is killed",
    "events are lost in a storm",
    "more namespaces than the kernel lists",
    "the daemon is killed",
    "the daemon is upgraded",
    "the event stream is cut",
    "the host is renumbered, its new addresses first",
    "the shim is deleted",
    "the uplink is deleted and made again",
    "the uplink moves to another namespace and back",
];

/// Maximum number of the other kinds that are not drawn in a run.
const UNDRAWN: usize = 16;

/// Maximum number of kinds that are not done in any of the runs.
const MISSING: usize = 20;

/// Maximum number of runs. An operation that is drawn but not possible just then is not done, and that
/// depends on the machine.
const RUNS: usize = 3;

#[test]
fn after_any_faults_everything_is_soon_right_again() -> Result<()> {
    let (length, pace) = (Length::Bursts(BURSTS), Pace::Hurry);
    let mut never: Option<BTreeSet<&str>> = None;
    for seed in seeds_of(BURSTS, pace, &DONE, UNDRAWN).take(RUNS) {
        let options = Options { binary: BINARY.to_owned(), length, pace, seed, go_on: false };
        let account = run(&options, |line| println!("{line}"))?;
        println!("{account}");
        ensure!(
            account.violations.is_empty(),
            "violations, with the whole picture above:\n{:#?}",
            account.violations
        );
        let mut left = account.never();
        left.retain(|kind| never.as_ref().is_none_or(|never| never.contains(kind)));
        if left.len() <= MISSING && DONE.iter().all(|kind| !left.contains(kind)) {
            return Ok(());
        }
        never = Some(left);
    }
    bail!("these kinds were not done: {never:#?}")
}
