//! Waiting until something is true, by checking again and again, never by a fixed sleep.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Minimum number of attempts before it counts as too late. On a machine that stands still for seconds, one
/// attempt may take all of the time.
const ATTEMPTS: u32 = 5;

/// Calls `attempt` until it succeeds and returns its value. Two attempts are 50 ms apart, or as long as the
/// last one took, because a waiting test must not slow a busy machine down.
///
/// # Errors
/// The last error of `attempt`, if none succeeded within `within`, and for how long it had been that error.
pub fn eventually<T>(within: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    let (mut reason, mut since) = (String::new(), start);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let began = Instant::now();
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let why = format!("{error:#}");
        if why != reason {
            (reason, since) = (why, began);
        }
        if start.elapsed() >= within && attempts >= ATTEMPTS {
            let unchanged = since.elapsed().as_secs_f64();
            return Err(error).with_context(|| {
                format!("still so after {within:?} and {attempts} attempts, unchanged for {unchanged:.1} s")
            });
        }
        std::thread::sleep(pause.max(began.elapsed()));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits until `holds` returns true.
///
/// # Errors
/// A message with `what`, if it did not within `within`.
pub fn until(within: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    eventually(within, || {
        ensure!(holds(), "not so: {what}");
        Ok(())
    })
}

/// Checks again and again during the whole of `period` that `holds` returns true: for things that must not
/// happen.
///
/// # Errors
/// A message with `what` and the time of the first check that failed.
pub fn stays(period: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < period {
        if !holds() {
            bail!("no longer so after {:?}: {what}", start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
