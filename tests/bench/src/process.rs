//! The resources that a process has used, by /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The resources that a process has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Resident memory, in kB.
    pub(crate) resident: u64,
    /// The part of it that no file holds, in kB.
    pub(crate) anonymous: u64,
    /// Time on a processor of all its threads, including those that have ended.
    pub(crate) processor: Duration,
    /// The same for the programs that it ran, in ticks of a hundredth of a second.
    pub(crate) ticks_of_programs: u64,
    /// Context switches of each thread, voluntary or not.
    threads: BTreeMap<u32, u64>,
}

impl Usage {
    /// Context switches since then, of the threads that still live.
    pub(crate) fn switches_since(&self, before: &Usage) -> u64 {
        let old = |id| before.threads.get(id).copied().unwrap_or(0);
        self.threads.iter().map(|(id, switches)| switches - old(id)).sum()
    }
}

/// Looks at a process.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // Behind the name, which may contain anything: the 14th and 15th of the fields that follow it.
    let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| numbers.get(at).and_then(|word| word.parse::<u64>().ok()).context("/proc/PID/stat");
    let mut usage = Usage {
        resident: field(&status, "VmRSS:")?,
        anonymous: field(&status, "RssAnon:")?,
        processor: clock_gettime(clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?)?.into(),
        ticks_of_programs: ticks(13)? + ticks(14)?,
        threads: BTreeMap::new(),
    };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let id = task.file_name().to_string_lossy().parse().context("the id of a thread")?;
        let switches =
            field(&status, "voluntary_ctxt_switches:")? + field(&status, "nonvoluntary_ctxt_switches:")?;
        usage.threads.insert(id, switches);
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
