//! Notices that a server is starting: it makes its socket, or changes other files beside the socket that
//! systemd has made.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;

use super::target::Target;

/// A watch on the folders in which a server's socket is, or may appear.
pub(super) struct SocketWatch {
    /// The kernel writes the changes into inotify's file, which can be read like a pipe.
    changes: Option<Receiver>,
}

impl SocketWatch {
    /// Begins to watch. If that is impossible, for example in a folder that we may not read, nothing is
    /// noticed.
    pub(super) fn new(target: &Target) -> SocketWatch {
        SocketWatch { changes: watch(target).ok() }
    }

    /// Waits until something there has changed since the beginning. Cancel safe.
    pub(super) async fn changed(&self) {
        if let Some(changes) = &self.changes
            && changes.readable().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

fn watch(target: &Target) -> io::Result<Receiver> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
    for socket in &target.candidates {
        // If there is no such folder yet, the folder that it will be made in.
        if let Some(folder) = socket.ancestors().skip(1).find(|folder| folder.is_dir()) {
            // A folder that we may not read is no reason to leave out the others.
            let _ = inotify.add_watch(folder, what);
        }
    }
    Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify))
}
