//! The file of the lock. Only those who may run a daemon here can open it, because everybody who has a file
//! open can hold a lock on it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use super::holder::{self, Standing};

/// How often a faulty file is replaced. Each replacement is a new file of our own, so a second round is
/// seldom needed.
const ROUNDS: u32 = 5;

/// The result of an attempt to lock the file.
pub(super) enum Attempt {
    /// It is locked.
    Locked(Flock<File>),
    /// Somebody who may run a daemon here has it: the process, and the file if we can read it.
    Held(Option<u32>, Option<File>),
}

/// Opens and locks the file, without waiting. A file that others can open, or that neither we nor the owner
/// of the folder made, is replaced unless a daemon holds it.
pub(super) fn lock(folder: &Path, path: &Path) -> io::Result<Attempt> {
    let folder = folder.metadata()?;
    let is_trusted = |user| user == 0 || user == geteuid().as_raw() || user == folder.uid();
    for _ in 0..ROUNDS {
        let (holders, file) = match open(path) {
            Ok(file) => {
                let meta = file.metadata()?;
                let is_sound = is_sound(&meta, &folder);
                match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                    Ok(locked) if is_sound && is_at(path, &meta) => {
                        leave_to_the_owner(&locked, &meta, &folder)?;
                        return Ok(Attempt::Locked(locked));
                    }
                    Ok(_) => (Standing::Nobody, None),
                    Err((file, Errno::EWOULDBLOCK)) if is_sound => {
                        return Ok(Attempt::Held(None, Some(file)));
                    }
                    Err((file, Errno::EWOULDBLOCK)) => {
                        (holder::of(&meta, is_trusted).or_hidden(), Some(file))
                    }
                    Err((_, errno)) => return Err(errno.into()),
                }
            }
            Err(error) if is_replaceable(&error) => match path.symlink_metadata() {
                Ok(meta) => (holder::of(&meta, is_trusted), None),
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        if let Standing::Trusted(pid) = holders {
            return Ok(Attempt::Held(pid, file));
        }
        replace(path)?;
    }
    Err(io::Error::other("somebody keeps changing the file"))
}

/// It follows no link, and waits for nobody.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
}

/// A link, a socket, or a file of another user: everything that a folder of ours can have in this place by
/// mistake or malice.
fn is_replaceable(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ELOOP | Errno::EACCES | Errno::ENXIO))
}

/// Nobody else can open it, and its owner may run a daemon here.
fn is_sound(file: &Metadata, folder: &Metadata) -> bool {
    let user = geteuid();
    let is_owner_right = file.uid() == user.as_raw() || (user.is_root() && file.uid() == folder.uid());
    file.is_file() && file.nlink() == 1 && file.mode() & 0o7777 & !0o600 == 0 && is_owner_right
}

/// The file is still the one that the next process will open.
fn is_at(path: &Path, file: &Metadata) -> bool {
    path.symlink_metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == (file.dev(), file.ino()))
}

/// A file that root makes in the unit's folder must not shut the unit out.
fn leave_to_the_owner(locked: &File, file: &Metadata, folder: &Metadata) -> io::Result<()> {
    if file.uid() == folder.uid() {
        return Ok(());
    }
    // Only root can give a file away.
    match fchown(locked, Some(folder.uid()), Some(folder.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

fn replace(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    tracing::warn!("replaced the lock {}: another user could have held it", path.display());
    Ok(())
}
