//! A guest that changes its addresses faster than anybody can follow.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, send, socket,
};

use crate::Guest;

/// The number of changes that are sent at once.
const BATCH: u32 = 200;

/// The storm ends when this value is dropped.
#[derive(Debug)]
pub struct Storm {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Guest {
    /// Adds and deletes addresses of `192.168.77.128/25` on a link of the guest, `changes` a second if the
    /// kernel is that fast.
    ///
    /// # Errors
    /// If the guest does not run.
    pub fn storm(&self, link: &str, changes: u32) -> Result<Storm> {
        let netns = File::open(self.server().machine().path(&format!("/proc/{}/ns/net", self.pid()?)))?;
        Ok(Storm::start(netns, link, changes))
    }
}

impl Storm {
    /// [`Guest::storm`] in a network namespace without a guest.
    #[must_use]
    pub fn start(netns: File, link: &str, changes: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (link, of_thread) = (link.to_owned(), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            setns(&netns, CloneFlags::CLONE_NEWNET).context("entering the guest's network namespace")?;
            blow(&link, changes, &of_thread)
        });
        Self { ended, thread: Some(thread) }
    }

    /// Whether it is still going on. It also ends with its link.
    #[must_use]
    pub fn blows(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it, and returns how many changes there were.
    ///
    /// # Errors
    /// If it could not go on.
    pub fn stop(mut self) -> Result<u64> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it was stopped before")?;
        thread.join().map_err(|_| anyhow!("the storm panicked"))?
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn blow(link: &str, changes: u32, ended: &AtomicBool) -> Result<u64> {
    let socket = rtnetlink()?;
    let index = if_nametoindex(link).with_context(|| link.to_owned())?;
    let batch: Vec<u8> =
        (0..BATCH / 2).flat_map(|n| [change(true, index, n), change(false, index, n)]).flatten().collect();
    let start = Instant::now();
    let mut sent = 0;
    while !ended.load(Ordering::Relaxed) {
        send(socket.as_raw_fd(), &batch, MsgFlags::empty())?;
        sent += u64::from(BATCH);
        let due = start + Duration::from_secs(1).mul_f64(sent as f64 / f64::from(changes));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}

pub(crate) fn rtnetlink() -> Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

/// `RTM_NEWADDR` or `RTM_DELADDR` of the nth address.
fn change(add: bool, index: u32, nth: u32) -> Vec<u8> {
    const REQUEST: u16 = 1;
    const CREATE: u16 = 0x400;
    let address = [192, 168, 77, 128 + (nth % 100) as u8];
    let (kind, flags): (u16, _) = if add { (20, REQUEST | CREATE) } else { (21, REQUEST) };
    let mut message = Vec::new();
    message.extend(40_u32.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    // IPv4, /24, no flags, global; then IFA_LOCAL and IFA_ADDRESS.
    message.extend([2, 24, 0, 0]);
    message.extend(index.to_ne_bytes());
    for attribute in [2_u16, 1] {
        message.extend(8_u16.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(address);
    }
    message
}
