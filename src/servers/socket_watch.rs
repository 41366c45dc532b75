//! Notices that a server is starting: it makes its socket, or changes other files beside the socket that
//! systemd has made.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;

use super::target::Target;

/// A watch on the folders in which a server's socket is, or may appear. There is one for as long as the server
/// is followed, because its end takes long (FACTS 67).
#[derive(Default)]
pub(super) struct SocketWatch {
    notices: Option<Notices>,
}

/// An instance of inotify, and its notices.
struct Notices {
    inotify: Inotify,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    /// The kernel writes them into inotify's file, which can be read like a pipe.
    queue: Receiver,
}

impl SocketWatch {
    /// Watches from now on, and forgets all changes so far. If that is impossible, for example in a folder
    /// that we may not read, nothing is noticed.
    pub(super) fn begin(&mut self, target: &Target) {
        if self.notices.is_none() {
            self.notices = Notices::open().ok();
        }
        if let Some(notices) = &mut self.notices {
            notices.watch(target);
            notices.forget();
        }
    }

    /// Waits until something there has changed since the beginning. Cancel safe.
    pub(super) async fn changed(&self) {
        if let Some(Notices { queue, .. }) = &self.notices
            && queue.readable().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Drop for SocketWatch {
    fn drop(&mut self) {
        let notices = self.notices.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(|| drop(notices));
        }
    }
}

impl Notices {
    fn open() -> io::Result<Notices> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let queue = Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Notices { inotify, watched: BTreeMap::new(), queue })
    }

    /// Watches the folders of the sockets, and no others any more. The kernel does not watch a folder twice.
    fn watch(&mut self, target: &Target) {
        let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
        let mut before = std::mem::take(&mut self.watched);
        for socket in &target.candidates {
            // If there is no such folder yet, the folder that it will be made in. A folder that we may not read
            // is no reason to leave out the others.
            let folder = socket.ancestors().skip(1).find(|folder| folder.is_dir());
            if let Some((folder, watch)) =
                folder.and_then(|folder| Some((folder, self.inotify.add_watch(folder, what).ok()?)))
            {
                before.retain(|_, other| *other != watch);
                self.watched.insert(folder.to_owned(), watch);
            }
        }
        for watch in before.into_values() {
            // It has ended by itself if its folder is gone.
            let _ = self.inotify.rm_watch(watch);
        }
    }

    fn forget(&self) {
        let mut buffer = [0; 4096];
        while self.queue.try_read(&mut buffer).is_ok_and(|length| length > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::model::ServerId;

    async fn is_noticed(watch: &SocketWatch) -> bool {
        timeout(Duration::from_millis(100), watch.changed()).await.is_ok()
    }

    /// Each look at a server begins the watch again. The folder of the socket may have been made meanwhile.
    #[tokio::test]
    async fn one_instance_serves_all_looks_at_a_server() {
        let above = tempfile::tempdir().unwrap();
        let socket = above.path().join("lxd/unix.socket");
        let folder = socket.parent().unwrap();
        let target = Target { id: ServerId("lxd".into()), kind: None, candidates: vec![socket.clone()] };
        let mut watch = SocketWatch::default();
        watch.begin(&target);
        let first = watch.notices.as_ref().unwrap().watched[above.path()];
        assert!(!is_noticed(&watch).await);
        fs::create_dir(folder).unwrap();
        assert!(is_noticed(&watch).await);

        watch.begin(&target);
        assert!(!is_noticed(&watch).await, "the folder is an old change");
        fs::write(&socket, "").unwrap();
        assert!(is_noticed(&watch).await);

        watch.begin(&target);
        fs::write(above.path().join("other"), "").unwrap();
        assert!(!is_noticed(&watch).await, "the folder above no longer matters");

        fs::remove_dir_all(folder).unwrap();
        watch.begin(&target);
        fs::create_dir(folder).unwrap();
        assert!(is_noticed(&watch).await);
        let last = watch.notices.as_ref().unwrap().watched[above.path()];
        assert!(last > first, "a new instance would count its watches from the beginning");
    }
}
