//! One daemon per network namespace. The lock dies with its holder. Its file stays, names the holder, and can
//! be opened only by those who may run a daemon here.

mod file;
mod holder;

use std::fs::{DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::Flock;

use self::file::Attempt;
pub use self::holder::LockHolder;
use crate::model::names;

/// Gives the holder time to write its name. It also covers a daemon that was killed between fork and exec of
/// `nft`, because the child still holds the lock until the exec.
const HANDOVER: Duration = Duration::from_millis(100);

/// The right to change this network namespace, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// The reason why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("already running in this network namespace{0}")]
    Held(LockHolder),
    /// The file cannot be made or locked.
    #[error("cannot lock {path}", path = path.display())]
    Io {
        /// The file, or its folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Takes the lock of the network namespace that this process is in. Hardly waits.
pub fn acquire() -> Result<Lock, LockError> {
    let own = Path::new("/proc/self/ns/net");
    let namespace = std::fs::metadata(own).map_err(|error| failed(own, error))?;
    acquire_in(Path::new(names::RUN_DIR), namespace.ino())
}

fn acquire_in(folder: &Path, namespace: u64) -> Result<Lock, LockError> {
    acquire_after(folder, namespace, || std::thread::sleep(HANDOVER))
}

/// If somebody has the lock, it is tried once more after `pause`.
fn acquire_after(folder: &Path, namespace: u64, pause: impl FnOnce()) -> Result<Lock, LockError> {
    let path = folder.join(format!("{namespace}.lock"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| failed(folder, error))?;
    let mut attempt = file::lock(folder, &path);
    if matches!(attempt, Ok(Attempt::Held(..))) {
        pause();
        attempt = file::lock(folder, &path);
    }
    match attempt.map_err(|error| failed(&path, error))? {
        Attempt::Locked(mut file) => {
            // The text only serves the message to the next process, so a full file system is no reason to do
            // without a daemon.
            if let Err(error) = sign(&mut file) {
                tracing::warn!("cannot write the holder into {}: {error}", path.display());
            }
            Ok(Lock { _file: file })
        }
        Attempt::Held(pid, file) => {
            let told = file.map(LockHolder::read).unwrap_or_default();
            Err(LockError::Held(LockHolder { pid: told.pid.or(pid), ..told }))
        }
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {}", std::process::id(), env!("CARGO_PKG_VERSION"))
}

fn failed(path: &Path, source: io::Error) -> LockError {
    LockError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::fcntl::FlockArg;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_second_process_learns_the_holder() {
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
    fn a_holder_that_is_about_to_let_go_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire_in(folder.path(), 1).unwrap();
        acquire_after(folder.path(), 1, || drop(first)).unwrap();
    }

    #[test]
    fn another_namespace_has_another_lock() {
        let folder = tempfile::tempdir().unwrap();
        let _first = acquire_in(folder.path(), 1).unwrap();
        acquire_in(folder.path(), 2).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = acquire_in(Path::new("/proc/nowhere"), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot lock /proc/nowhere");
    }

    #[test]
    fn no_other_user_can_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.lock");
        drop(acquire_in(folder.path(), 1).unwrap());
        assert_eq!(mode(&path), 0o600);
    }

    /// A process that opened the file while it could may lock it later, so closing it is not enough.
    #[test]
    fn one_that_others_could_open_is_replaced_once_no_daemon_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.lock");
        std::fs::write(&path, "12 0.0.9\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let opened = File::open(&path).unwrap();
        let daemon = Flock::lock(opened.try_clone().unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        let LockError::Held(holder) = acquire_in(folder.path(), 1).unwrap_err() else { panic!() };
        assert_eq!((holder.pid, holder.version.as_deref()), (Some(12), Some("0.0.9")));
        drop(daemon);
        let first = acquire_in(folder.path(), 1).unwrap();
        assert_eq!(mode(&path), 0o600);
        Flock::lock(opened, FlockArg::LockExclusiveNonblock).unwrap();
        assert!(matches!(acquire_in(folder.path(), 1), Err(LockError::Held(_))));
        drop(first);
        acquire_in(folder.path(), 1).unwrap();
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, path) = (folder.path().join("precious"), folder.path().join("1.lock"));
        std::fs::write(&precious, "precious").unwrap();
        symlink(&precious, &path).unwrap();
        let lock = acquire_in(folder.path(), 1).unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert!(matches!(acquire_in(folder.path(), 1), Err(LockError::Held(_))));
        drop(lock);
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&precious, &path).unwrap();
        drop(acquire_in(folder.path(), 1).unwrap());
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn anything_but_a_file_is_replaced_and_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.lock");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(acquire_in(folder.path(), 1).unwrap());
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        drop(acquire_in(folder.path(), 1).unwrap());
        assert!(path.symlink_metadata().unwrap().is_file());
        std::fs::create_dir(folder.path().join("2.lock")).unwrap();
        let error = acquire_in(folder.path(), 2).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot lock {}", folder.path().join("2.lock").display()));
    }
}
