//! The control socket's file.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use tokio::net::UnixListener;

use super::peer;

/// The reason why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else than a socket is there.
    #[error("{path} is there and is not a socket", path = .0.display())]
    NoSocket(PathBuf),
    /// A daemon of another network namespace answers there. It is not one of ours, because we hold the lock
    /// of ours.
    #[error("another process answers at the control socket {path}", path = .0.display())]
    InUse(PathBuf),
    /// It cannot be made.
    #[error("cannot make the control socket {path}", path = path.display())]
    Io {
        /// The socket, or its folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Makes the socket, and its folder if need be. A socket that a dead daemon left is replaced. Must be called
/// with the lock held and within a tokio runtime.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
        Ok(_) if is_alive(path) => return Err(BindError::InUse(path.to_owned())),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
    bind_closed(folder, path).map_err(failed)
}

/// Whether somebody listens, even if they are too busy to answer.
fn is_alive(path: &Path) -> bool {
    let connect = || {
        let ours = socket::socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        socket::connect(ours.as_raw_fd(), &UnixAddr::new(path)?)
    };
    !matches!(connect(), Err(Errno::ECONNREFUSED | Errno::ENOENT))
}

/// Binds in a folder that nobody else can enter, and moves the socket to its place when its mode is right. So
/// there is no moment at which others can connect, whatever the umask.
fn bind_closed(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let closed = folder.join(format!(".{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&closed);
    DirBuilder::new().mode(0o700).create(&closed)?;
    let socket = closed.join("s");
    let bound = UnixListener::bind(&socket).and_then(|listener| {
        open_to_group(&socket)?;
        std::fs::rename(&socket, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_dir_all(&closed);
    bound
}

/// Lets the group connect. If root runs the daemon by hand, the folder may belong to the unit's user, who can
/// put a link in the place of the socket. So the mode of the opened file is changed, not of the path.
fn open_to_group(socket: &Path) -> io::Result<()> {
    let flags = (OFlag::O_PATH | OFlag::O_NOFOLLOW).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(socket)?;
    if !opened.metadata()?.file_type().is_socket() {
        return Err(io::Error::other("somebody has put something else in the place of the socket"));
    }
    let opened_path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    if let Err(error) = peer::give_to_group(&opened_path) {
        tracing::warn!(%error, "the control socket does not belong to its group: only root can ask for the status");
    }
    std::fs::set_permissions(&opened_path, Permissions::from_mode(0o660))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_owner_and_group_may_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let _listener = bind(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o660);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[tokio::test]
    async fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(bind(&path).unwrap());
        let _second = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InUse(_))));
    }

    #[test]
    fn a_link_in_the_place_of_the_socket_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, socket) = (folder.path().join("precious"), folder.path().join("s"));
        std::fs::write(&precious, "precious").unwrap();
        std::fs::set_permissions(&precious, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&precious, &socket).unwrap();
        assert!(open_to_group(&socket).is_err());
        assert_eq!(std::fs::metadata(&precious).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = bind(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is there and is not a socket", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
