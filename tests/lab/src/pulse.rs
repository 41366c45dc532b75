//! A ping every 10 ms, which shows how long two machines did not reach each other.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::{Daemon, Machine, eventually};

/// After this long without a gap, the disturbance is over.
const STEADY: Duration = Duration::from_secs(1);
/// How long an answer may take, and the end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two answers. Less than this is the noise of a busy machine.
const BEAT: f64 = 0.3;

/// Running pings to one address.
#[derive(Debug)]
pub struct Pulse {
    ping: Daemon,
}

impl Machine {
    /// Pings an address every 10 ms from now on. Another command may stand in front, such as `nsenter` into a
    /// guest.
    ///
    /// # Errors
    /// If the first answer does not come within 30 s.
    pub fn pulse(&self, before: &[&str], address: &str) -> Result<Pulse> {
        let ping = self.spawn(&[before, &["ping", "-n", "-D", "-i", "0.01", "-W", "1", address]].concat())?;
        ping.wait_line("bytes from", PATIENCE)?;
        Ok(Pulse { ping })
    }
}

impl Pulse {
    /// Waits until answers have come steadily for a second, and returns the longest time without one since
    /// `start`.
    ///
    /// # Errors
    /// If that does not happen within `within`, with the last lines of ping.
    pub fn longest_gap(&self, start: SystemTime, within: Duration) -> Result<Duration> {
        eventually(within, || {
            let now = seconds(SystemTime::now())?;
            let mut answers: Vec<f64> = self.ping.stdout().iter().filter_map(|line| answer(line)).collect();
            answers.push(now);
            let from = answers.partition_point(|&time| time < now - STEADY.as_secs_f64());
            let steady = from > 0 && gap(&answers[from - 1..]) < BEAT && start.elapsed()? > STEADY;
            let output = self.ping.output();
            ensure!(steady, "no steady answers: {:#?}", output.iter().rev().take(5).collect::<Vec<_>>());
            let first = answers.partition_point(|&time| time < seconds(start).unwrap_or_default());
            let gap = gap(&answers[first.checked_sub(1).context("no answer before the start")?..]);
            Ok(Duration::from_secs_f64(gap))
        })
    }
}

impl Pulse {
    /// Waits for one more answer, ends it, and returns how many pings before the last answer were not
    /// answered.
    ///
    /// # Errors
    /// If no answer comes, or it has ended before.
    pub fn lost(mut self) -> Result<usize> {
        self.ping.wait_line_after(self.ping.mark(), "bytes from", PATIENCE)?;
        self.ping.signal("INT")?;
        self.ping.wait_line("packets transmitted", PATIENCE)?;
        let answers: BTreeSet<usize> = self.ping.stdout().iter().filter_map(|line| number(line)).collect();
        Ok(answers.last().context("no answer at all")? - answers.len())
    }
}

/// `[1700000000.123456] 64 bytes from 192.168.77.1: icmp_seq=1 ttl=64 time=0.1 ms`
fn number(line: &str) -> Option<usize> {
    line.split_once("icmp_seq=")
        .filter(|(before, _)| before.contains("bytes from"))?
        .1
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// The longest time between two neighbours.
fn gap(times: &[f64]) -> f64 {
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

/// `[1700000000.123456] 64 bytes from 192.168.77.1: …`
fn answer(line: &str) -> Option<f64> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    rest.contains("bytes from").then(|| time.parse().ok())?
}

fn seconds(time: SystemTime) -> Result<f64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs_f64())
}
