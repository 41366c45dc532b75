//! One daemon per network namespace. The lock dies with its holder; the file that it is on stays, and
//! says who holds it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::model::names;

/// Long enough for who has the lock to say so; and for a program that a daemon was about to run when it was killed to
/// begin, for until then that has the lock.
const HANDOVER: Duration = Duration::from_millis(100);

/// The right to change this network namespace, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("already running in this network namespace{0}")]
    Held(Holder),
    /// The file cannot be made or locked.
    #[error("cannot lock {path}", path = path.display())]
    Io {
        /// The file, or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Who has the lock, as far as the file tells. `Display` is empty or in brackets, with a space before.
#[derive(Debug, Default, PartialEq)]
pub struct Holder {
    /// The process, in its own PID namespace.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
    /// For how long it has had the lock.
    pub age: Option<Duration>,
}

/// Takes the lock of the network namespace that this process is in. Hardly waits.
pub fn acquire() -> Result<Lock, LockError> {
    let own = Path::new("/proc/self/ns/net");
    let namespace = std::fs::metadata(own).map_err(|error| failed(own, error))?;
    acquire_in(Path::new(names::RUN_DIR), namespace.ino())
}

fn acquire_in(folder: &Path, namespace: u64) -> Result<Lock, LockError> {
    let path = folder.join(format!("{namespace}.lock"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| failed(folder, error))?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&path);
    let mut file = file.map_err(|error| failed(&path, error))?;
    for patience in [HANDOVER, Duration::ZERO] {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                sign(&mut file).map_err(|error| failed(&path, error))?;
                return Ok(Lock { _file: file });
            }
            Err((held, Errno::EWOULDBLOCK)) => file = held,
            Err((_, errno)) => return Err(failed(&path, errno.into())),
        }
        std::thread::sleep(patience);
    }
    Err(LockError::Held(Holder::read(file)))
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {}", std::process::id(), env!("CARGO_PKG_VERSION"))
}

fn failed(path: &Path, source: io::Error) -> LockError {
    LockError::Io { path: path.to_owned(), source }
}

impl Holder {
    /// A holder that has not signed yet is unknown.
    fn read(file: File) -> Holder {
        let mut text = String::new();
        let age =
            file.metadata().and_then(|meta| meta.modified()).ok().and_then(|since| since.elapsed().ok());
        // Who it is only serves the message.
        let _ = file.take(200).read_to_string(&mut text);
        let mut words = text.split_whitespace();
        let pid = words.next().and_then(|word| word.parse().ok());
        let version = words.next().map(str::to_owned);
        Holder { age: age.filter(|_| pid.is_some()), pid, version }
    }
}

impl std::fmt::Display for Holder {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire_in(folder.path(), 1).unwrap();
        let LockError::Held(holder) = acquire_in(folder.path(), 1).unwrap_err() else { panic!() };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert_eq!(holder.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert!(holder.age.unwrap() < Duration::from_secs(60));
        drop(first);
        acquire_in(folder.path(), 1).unwrap();
    }

    #[test]
    fn who_is_about_to_let_go_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire_in(folder.path(), 1).unwrap();
        let last_breath = std::thread::spawn(move || {
            std::thread::sleep(HANDOVER / 5);
            drop(first);
        });
        acquire_in(folder.path(), 1).unwrap();
        last_breath.join().unwrap();
    }

    #[test]
    fn another_namespace_has_another_lock() {
        let folder = tempfile::tempdir().unwrap();
        let _first = acquire_in(folder.path(), 1).unwrap();
        acquire_in(folder.path(), 2).unwrap();
    }

    #[test]
    fn what_is_known_of_the_holder_is_said() {
        let holder = |text: &str, seconds| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let holder = Holder::read(file.reopen().unwrap());
            let age = holder.age.map(|_| Duration::from_secs(seconds));
            LockError::Held(Holder { age, ..holder }).to_string()
        };
        let running = "already running in this network namespace";
        assert_eq!(holder("", 5), running);
        assert_eq!(holder("12 0.1.0\n", 5), format!("{running} (pid 12, version 0.1.0, for 5 s)"));
        assert_eq!(holder("12\n", 7500), format!("{running} (pid 12, for 2 h 5 min)"));
        assert_eq!(in_words(Duration::from_secs(90_000)), "1 d 1 h");
        assert_eq!(in_words(Duration::from_secs(119)), "1 min");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = acquire_in(Path::new("/proc/nowhere"), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot lock /proc/nowhere");
    }
}
