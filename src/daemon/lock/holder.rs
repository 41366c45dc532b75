//! The holder of the lock: as the file names it, and as the kernel knows it.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::stat::{major, minor};

/// Longest text that is read from the file, in bytes.
const TEXT: u64 = 200;

/// The holder of the lock, as far as the file shows. `Display` is empty or in brackets, with a space before.
#[derive(Debug, Default, PartialEq)]
pub struct LockHolder {
    /// The process, in its own PID namespace.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
    /// How long it has had the lock.
    pub age: Option<Duration>,
}

impl LockHolder {
    /// A holder that has not signed yet is unknown.
    pub(super) fn read(file: File) -> LockHolder {
        let mut text = String::new();
        let age =
            file.metadata().and_then(|meta| meta.modified()).ok().and_then(|since| since.elapsed().ok());
        // The name of the holder only serves the message.
        let _ = file.take(TEXT).read_to_string(&mut text);
        let mut words = text.split_whitespace();
        let pid = words.next().and_then(|word| word.parse().ok());
        let version = words.next().filter(|word| is_version(word)).map(str::to_owned);
        LockHolder { age: age.filter(|_| pid.is_some()), pid, version }
    }
}

/// Nothing else is printed, because the file may hold anything.
fn is_version(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-~".contains(&byte))
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let version = self.version.as_ref().map(|version| format!("version {version}"));
        let age = self.age.map(|age| format!("for {}", in_words(age)));
        let known: Vec<String> = [pid, version, age].into_iter().flatten().collect();
        if known.is_empty() { Ok(()) } else { write!(f, " ({})", known.join(", ")) }
    }
}

fn in_words(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min"),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

/// The processes that hold a lock on a file, according to the kernel.
#[derive(Debug, PartialEq)]
pub(super) enum Standing {
    /// Nobody that we can see.
    Nobody,
    /// A process of a user who may run a daemon here; its id if it can be seen.
    Trusted(Option<u32>),
    /// Only others, or dead processes.
    Stranger,
}

impl Standing {
    /// For a file that is locked for certain. A holder in another PID namespace is not shown to us, and is
    /// trusted.
    pub(super) fn or_hidden(self) -> Standing {
        if self == Standing::Nobody { Standing::Trusted(None) } else { self }
    }
}

/// The holder of a lock on that file. `is_trusted` decides whether a user may run a daemon here.
pub(super) fn of(file: &Metadata, is_trusted: impl Fn(u32) -> bool) -> Standing {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let holders = holders(&locks, file.dev(), file.ino());
    let trusted = holders.iter().find(|pid| user(**pid).is_some_and(&is_trusted));
    match trusted {
        Some(pid) => Standing::Trusted(Some(*pid)),
        None if holders.is_empty() => Standing::Nobody,
        None => Standing::Stranger,
    }
}

/// The processes in `/proc/locks` that have a lock by flock on this file.
fn holders(locks: &str, device: u64, inode: u64) -> Vec<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let holder = |line: &str| {
        // 7: FLOCK  ADVISORY  WRITE 1234 00:19:5678 0 EOF; waiting ones have "->" before the kind.
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_lock = words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&file.as_str());
        if is_lock { words.get(4)?.parse().ok() } else { None }
    };
    locks.lines().filter_map(holder).collect()
}

/// The user who started a process. The owner of `/proc/PID` would not do, because it is root if a process
/// hides itself.
fn user(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::lock::LockError;

    #[test]
    fn the_known_facts_about_the_holder_are_shown() {
        let holder = |text: &str, seconds| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let holder = LockHolder::read(file.reopen().unwrap());
            let age = holder.age.map(|_| Duration::from_secs(seconds));
            LockError::Held(LockHolder { age, ..holder }).to_string()
        };
        let running = "already running in this network namespace";
        assert_eq!(holder("", 5), running);
        assert_eq!(holder("12 0.1.0\n", 5), format!("{running} (pid 12, version 0.1.0, for 5 s)"));
        assert_eq!(holder("12\n", 7500), format!("{running} (pid 12, for 2 h 5 min)"));
        assert_eq!(holder("12 \u{1b}[2J\n", 5), format!("{running} (pid 12, for 5 s)"));
        assert_eq!(holder("\u{1b}]0;x\u{7} 1.0\n", 5), running.to_owned() + " (version 1.0)");
        assert_eq!(in_words(Duration::from_secs(90_000)), "1 d 1 h");
        assert_eq!(in_words(Duration::from_secs(119)), "1 min");
    }

    #[test]
    fn holders_are_found_and_waiting_processes_are_not() {
        let locks = "1: FLOCK  ADVISORY  WRITE 11 00:19:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 12 00:19:77 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 13 00:19:77 0 EOF\n3: FLOCK  ADVISORY  READ 14 00:19:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 15 00:1a:77 0 EOF\n5: FLOCK  ADVISORY  WRITE 16 00:19:78 0 EOF\n";
        assert_eq!(holders(locks, nix::sys::stat::makedev(0, 0x19), 77), [11, 14]);
        assert_eq!(holders("nonsense\n", 0, 0), Vec::<u32>::new());
    }

    #[test]
    fn a_process_belongs_to_the_user_who_started_it() {
        assert_eq!(user(std::process::id()), Some(nix::unistd::getuid().as_raw()));
        assert_eq!(user(u32::MAX), None);
    }
}
