//! A guest that fills the neighbour tables, which it shares with the whole machine.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{MsgFlags, send};

use crate::Guest;
use crate::storm::rtnetlink;

/// Number of neighbours of each family: more than the kernel's tables take by default.
const NEIGHBOURS: u16 = 1300;

/// Number of changes that are sent at once.
const BATCH: usize = 100;

/// The crowd leaves with this value.
#[derive(Debug)]
pub struct Crowd {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Guest {
    /// Makes neighbours of `10.98.0.0/16` and `fd98::/64` on a link of the guest, and keeps changing them, so that the
    /// kernel collects none.
    ///
    /// # Errors
    /// If the guest does not run.
    pub fn crowd(&self, link: &str) -> Result<Crowd> {
        let netns = File::open(self.server().machine().path(&format!("/proc/{}/ns/net", self.pid()?)))?;
        Ok(Crowd::start(netns, link))
    }
}

impl Crowd {
    /// [`Guest::crowd`] in a network namespace of no guest.
    #[must_use]
    pub fn start(netns: File, link: &str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (link, of_thread) = (link.to_owned(), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            setns(&netns, CloneFlags::CLONE_NEWNET).context("entering the guest's network namespace")?;
            let index = if_nametoindex(link.as_str()).with_context(|| link.clone())?;
            let mut stale = false;
            while !of_thread.load(Ordering::Relaxed) {
                tell(index, if stale { Some(STALE) } else { Some(REACHABLE) })?;
                stale = !stale;
                std::thread::sleep(Duration::from_millis(20));
            }
            tell(index, None)
        });
        Self { ended, thread: Some(thread) }
    }

    /// Ends it: the tables are as they were.
    ///
    /// # Errors
    /// If it could not go on until now.
    pub fn leave(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the crowd panicked"))?
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

const REACHABLE: u16 = 2;
const STALE: u16 = 4;

/// Gives all neighbours this state, or deletes them. A new socket each time: nobody reads what the kernel complains of.
fn tell(index: u32, state: Option<u16>) -> Result<()> {
    let socket = rtnetlink()?;
    let all: Vec<Vec<u8>> =
        (0..NEIGHBOURS).flat_map(|n| [false, true].map(|ipv6| change(index, n, ipv6, state))).collect();
    for some in all.chunks(BATCH) {
        send(socket.as_raw_fd(), &some.concat(), MsgFlags::empty())?;
    }
    Ok(())
}

/// `RTM_NEWNEIGH` or `RTM_DELNEIGH` of the nth neighbour.
fn change(index: u32, nth: u16, ipv6: bool, state: Option<u16>) -> Vec<u8> {
    const REQUEST: u16 = 1;
    const CREATE: u16 = 0x500; // or replace
    let [high, low] = (nth + 0x100).to_be_bytes();
    let address = match ipv6 {
        false => vec![10, 98, high, low],
        true => [[0xfd, 0x98].as_slice(), &[0; 12], &[high, low]].concat(),
    };
    let (kind, flags): (u16, _) = if state.is_some() { (28, REQUEST | CREATE) } else { (29, REQUEST) };
    let mut body = vec![if ipv6 { 10 } else { 2 }, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(state.unwrap_or(0).to_ne_bytes());
    body.extend([0, 0]);
    // NDA_DST, and NDA_LLADDR with two bytes of padding.
    body.extend((4 + address.len() as u16).to_ne_bytes());
    body.extend(1_u16.to_ne_bytes());
    body.extend(address);
    body.extend(10_u16.to_ne_bytes());
    body.extend(2_u16.to_ne_bytes());
    body.extend([2, 0x98, 0, 0, 0, 1, 0, 0]);
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}
