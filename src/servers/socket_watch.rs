//! Notices that a server is coming: it makes its socket, or, where systemd has made that, sees to what else is in the
//! folder of the socket.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;

use super::target::Target;

/// A watch on the folders where a server's socket is, or may come to be.
pub(super) struct SocketWatch {
    /// As the kernel writes what happens to inotify's file, it can be read like a pipe.
    news: Option<Receiver>,
}

impl SocketWatch {
    /// Begins to watch. Where that is not possible, such as in a folder that we may not read, nothing is noticed.
    pub(super) fn new(target: &Target) -> SocketWatch {
        SocketWatch { news: watch(target).ok() }
    }

    /// Waits until something has happened there since the beginning. May be cancelled at any time.
    pub(super) async fn changed(&self) {
        if let Some(news) = &self.news
            && news.readable().await.is_ok()
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
        // Where there is no such folder yet, the one that it will be made in.
        if let Some(folder) = socket.ancestors().skip(1).find(|folder| folder.is_dir()) {
            // One that we may not read is no reason to leave out the others.
            let _ = inotify.add_watch(folder, what);
        }
    }
    Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify))
}
