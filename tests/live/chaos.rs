//! A short chaos, as `make chaos` runs it for as long as one likes.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use chaos::{Length, Options, Pace, run};

use crate::node::BINARY;

/// The seed is one with which nearly all kinds of operations are drawn. What is not possible just then is not done.
const SEED: u64 = 205;

/// Kinds that must be among them: one of each sort.
const DONE: [&str; 14] = [
    "a fight over a route",
    "a guest is deleted and launched anew",
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

/// So many of all that there are may be missing.
const MISSING: usize = 20;

/// How many runs may be needed for all of them: whether one is possible depends on what else is just going on.
const RUNS: u32 = 3;

#[test]
fn whatever_happens_all_is_right_again_soon() -> Result<()> {
    let (length, pace) = (Length::Bursts(5), Pace::Hurry);
    let options = Options { binary: BINARY.to_owned(), length, pace, seed: SEED, go_on: false };
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for nth in 1..=RUNS {
        let account = run(&options, |line| println!("{line}"))?;
        println!("{account}");
        ensure!(
            account.violations.is_empty(),
            "violations, and above the whole picture:\n{:#?}",
            account.violations
        );
        let never = account.never();
        done.extend(DONE.iter().filter(|kind| !never.contains(*kind)));
        let missing: Vec<_> = DONE.iter().filter(|kind| !done.contains(*kind)).collect();
        if never.len() <= MISSING && missing.is_empty() {
            break;
        }
        ensure!(nth < RUNS, "these kinds were not done: {missing:#?}; and not in the last run: {never:#?}");
    }
    Ok(())
}
