//! What a process has used, by /proc.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// What a process has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Memory that is there, in kB.
    pub(crate) resident: u64,
    /// The part of it that no file holds, in kB.
    pub(crate) anonymous: u64,
    /// Time on a processor (utime and stime of /proc/PID/stat), in ticks of a hundredth of a second.
    pub(crate) ticks: u64,
    threads: BTreeMap<u32, Thread>,
}

/// What a thread has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Thread {
    /// Time on a processor by the scheduler's own count.
    nanoseconds: u64,
    /// Context switches, voluntary or not.
    switches: u64,
}

impl Usage {
    /// Time on a processor since then, in nanoseconds, of the threads that still live.
    pub(crate) fn nanoseconds_since(&self, before: &Usage) -> u64 {
        self.since(before, |thread| thread.nanoseconds)
    }

    /// Context switches since then, of the threads that still live.
    pub(crate) fn switches_since(&self, before: &Usage) -> u64 {
        self.since(before, |thread| thread.switches)
    }

    fn since(&self, before: &Usage, figure: impl Fn(&Thread) -> u64) -> u64 {
        let old = |id| before.threads.get(id).map_or(0, &figure);
        self.threads.iter().map(|(id, thread)| figure(thread) - old(id)).sum()
    }
}

/// Looks at a process.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // Behind the name, which may contain anything: the 12th and 13th of what follows it.
    let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| numbers.get(at).and_then(|word| word.parse::<u64>().ok()).context("/proc/PID/stat");
    let mut usage = Usage {
        resident: field(&status, "VmRSS:")?,
        anonymous: field(&status, "RssAnon:")?,
        ticks: ticks(11)? + ticks(12)?,
        threads: BTreeMap::new(),
    };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let read = |file| fs::read_to_string(task.path().join(file));
        // A thread may end meanwhile.
        let (Ok(status), Ok(times)) = (read("status"), read("schedstat")) else { continue };
        let id = task.file_name().to_string_lossy().parse().context("the id of a thread")?;
        let nanoseconds = times.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let switches =
            field(&status, "voluntary_ctxt_switches:")? + field(&status, "nonvoluntary_ctxt_switches:")?;
        usage.threads.insert(id, Thread { nanoseconds, switches });
    }
    Ok(usage)
}

/// Whether a process was told to stop, and has.
pub(crate) fn is_stopped(pid: u32) -> Result<bool> {
    Ok(read(&format!("/proc/{pid}/status"))?.contains("State:\tT"))
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(file).with_context(|| file.to_owned())
}

fn field(status: &str, name: &str) -> Result<u64> {
    let value =
        status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("no {name}"))
}
