//! What a process has used, by /proc.

use std::fs;

use anyhow::{Context, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory that is there, in kB.
    pub(crate) resident: u64,
    /// The part of it that no file holds, in kB.
    pub(crate) anonymous: u64,
    /// Time on a processor (utime and stime of /proc/PID/stat), in ticks of a hundredth of a second.
    pub(crate) ticks: u64,
    /// Time on a processor by the scheduler's own count, in nanoseconds; of threads that live.
    pub(crate) nanoseconds: u64,
    /// Context switches, voluntary or not, of threads that live.
    pub(crate) switches: u64,
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
        nanoseconds: 0,
        switches: 0,
    };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // A thread may end meanwhile.
        let (Ok(status), Ok(times)) =
            (fs::read_to_string(task.join("status")), fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        usage.switches +=
            field(&status, "voluntary_ctxt_switches:")? + field(&status, "nonvoluntary_ctxt_switches:")?;
        usage.nanoseconds += times.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
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
