//! A guest that fills the neighbour tables, which it shares with the whole machine.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::storm::rtnetlink;
use crate::{Guest, eventually};

/// Maximum number of neighbours of each family: `10.98.0.0/16` holds no more.
const MOST: u16 = 65_000;

/// Number of changes that are sent at once.
const BATCH: u16 = 100;

/// How long a neighbour is left alone. The kernel collects those that have not changed for five seconds.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a free place in a table may stay free.
const PAUSE: Duration = Duration::from_millis(2);

/// Neighbours of a guest. They leave when this value is dropped.
#[derive(Debug)]
pub struct Crowd {
    ended: Arc<AtomicBool>,
    /// Number of neighbours that the kernel has refused, for IPv4 and for IPv6.
    refusals: Arc<[AtomicU64; 2]>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Guest {
    /// Makes neighbours in `10.98.0.0/16` and `fd98::/64` on a link of the guest until the kernel refuses
    /// more, and takes every place that becomes free. They keep changing, so that the kernel collects none.
    ///
    /// # Errors
    /// If the guest does not run.
    pub fn crowd(&self, link: &str) -> Result<Crowd> {
        let netns = File::open(self.server().machine().path(&format!("/proc/{}/ns/net", self.pid()?)))?;
        Ok(Crowd::start(netns, link))
    }
}

impl Crowd {
    /// [`Guest::crowd`] in a network namespace without a guest.
    #[must_use]
    pub fn start(netns: File, link: &str) -> Self {
        let (ended, refusals) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (link, until, counts) = (link.to_owned(), Arc::clone(&ended), Arc::clone(&refusals));
        let thread = std::thread::spawn(move || {
            setns(&netns, CloneFlags::CLONE_NEWNET).context("entering the guest's network namespace")?;
            let index = if_nametoindex(link.as_str()).with_context(|| link.clone())?;
            let mut neighbours = Neighbours { socket: rtnetlink()?, index, counts: [0, 0] };
            let result = neighbours.stay(&until, &counts);
            result.and(neighbours.all(None))
        });
        Self { ended, refusals, thread: Some(thread) }
    }

    /// Waits until the kernel refuses neighbours of both families.
    ///
    /// # Errors
    /// If it does not within that time, or the crowd has ended. The error then is that of the crowd.
    pub fn wait_full(&mut self, within: Duration) -> Result<()> {
        eventually(within, || {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Ok(Err(self.end().err().context("the crowd has left")?));
            }
            let refusals = self.refusals();
            ensure!(refusals.iter().all(|count| *count > 0), "refused: {refusals:?}");
            Ok(Ok(()))
        })?
    }

    /// Number of neighbours that the kernel has refused so far, for IPv4 and for IPv6.
    #[must_use]
    pub fn refusals(&self) -> [u64; 2] {
        [0, 1].map(|family| self.refusals[family].load(Ordering::Relaxed))
    }

    /// Ends it. The tables are as they were before.
    ///
    /// # Errors
    /// If it had to stop earlier.
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
        if let Err(error) = self.end() {
            eprintln!("the crowd has ended early: {error:#}");
        }
    }
}

const REACHABLE: u16 = 2;
const STALE: u16 = 4;

struct Neighbours {
    socket: OwnedFd,
    index: u32,
    /// Number of neighbours that were made, for IPv4 and for IPv6.
    counts: [u16; 2],
}

impl Neighbours {
    fn stay(&mut self, ended: &AtomicBool, refusals: &[AtomicU64; 2]) -> Result<()> {
        let (mut state, mut changed) = (REACHABLE, Instant::now());
        let mut full = [false; 2];
        while !ended.load(Ordering::Relaxed) {
            for family in [0, 1] {
                let count = self.counts[family];
                let most = if full[family] { 1 } else { BATCH };
                let refused = self.tell(family, count..count + most, Some(state))?;
                full[family] = !refused.is_empty();
                self.counts[family] = refused.first().map_or(count + most, |first| *first);
                refusals[family].fetch_add(refused.len() as u64, Ordering::Relaxed);
                ensure!(self.counts[family] < MOST, "the table takes more than {MOST} neighbours");
            }
            if changed.elapsed() > AGAIN {
                (state, changed) = (if state == STALE { REACHABLE } else { STALE }, Instant::now());
                self.all(Some(state))?;
            }
            if full == [true; 2] {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Gives all of them this state, or deletes them.
    fn all(&self, state: Option<u16>) -> Result<()> {
        for family in [0, 1] {
            let count = self.counts[family];
            for first in (0..count).step_by(BATCH.into()) {
                self.tell(family, first..count.min(first + BATCH), state)?;
            }
        }
        Ok(())
    }

    /// Makes neighbours, gives them this state, or deletes them. Returns which of them are refused because
    /// the table is full.
    fn tell(&self, family: usize, which: Range<u16>, state: Option<u16>) -> Result<Vec<u16>> {
        let messages = which.clone().flat_map(|nth| change(self.index, nth, family == 1, state));
        send(self.socket.as_raw_fd(), &messages.collect::<Vec<u8>>(), MsgFlags::empty())?;
        let mut refused = Vec::new();
        for nth in which {
            let mut answer = [0; 512];
            let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
            // A header, and the error number.
            ensure!(length >= 20, "an answer of {length} bytes");
            match i32::from_ne_bytes(answer[16..20].try_into()?) {
                0 => {}
                number => match Errno::from_raw(-number) {
                    Errno::ENOBUFS => refused.push(nth),
                    Errno::ENOENT if state.is_none() => {}
                    errno => bail!("the kernel refused to change a neighbour: {errno}"),
                },
            }
        }
        Ok(refused)
    }
}

/// `RTM_NEWNEIGH` or `RTM_DELNEIGH` of the nth neighbour.
fn change(index: u32, nth: u16, ipv6: bool, state: Option<u16>) -> Vec<u8> {
    const REQUEST: u16 = 5; // with an answer
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
