//! Events on the host, with the time at which they were seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lab::Machine;
use nix::libc;

use crate::netlink::{Event, Socket};

/// All groups in which something of ours can be seen.
pub(crate) const EVERYTHING: &[u32] = &[
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_NETCONF,
];

/// A thread that listens in a machine's network namespace until this value is dropped.
pub(crate) struct Watch {
    events: Receiver<(Instant, Event)>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Listens from now on.
    pub(crate) fn open(host: &Machine, groups: &[u32]) -> Result<Watch> {
        Watch::on(host.within(|| Ok(Socket::listen(groups, false)?))?)
    }

    /// Listens from now on also to the namespaces that have an id on the machine.
    pub(crate) fn open_everywhere(host: &Machine, groups: &[u32]) -> Result<Watch> {
        Watch::on(host.within(|| Ok(Socket::listen(groups, true)?))?)
    }

    fn on(socket: Socket) -> Result<Watch> {
        socket.patience(Duration::from_millis(100))?;
        let (sender, events) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while !told.load(Ordering::Relaxed) {
                // An error means that events were lost. Whoever waits for one then learns that nobody
                // listens.
                let Ok(events) = socket.receive(&mut buffer) else { return };
                let now = Instant::now();
                for event in events.into_iter().flatten() {
                    if sender.send((now, event)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Watch { events, ends, thread: Some(thread) })
    }

    /// Forgets everything that was seen so far.
    pub(crate) fn forget(&self) {
        while self.events.try_recv().is_ok() {}
    }

    /// All that was seen so far.
    pub(crate) fn seen(&self) -> Vec<Event> {
        self.events.try_iter().map(|(_, event)| event).collect()
    }

    /// Waits until `is_it` says so of an event, and returns when that was seen.
    pub(crate) fn until(
        &self,
        within: Duration,
        what: &str,
        mut is_it: impl FnMut(Event) -> bool,
    ) -> Result<Instant> {
        let end = Instant::now() + within;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((at, event)) if is_it(event) => return Ok(at),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("not within {within:?}: {what}"),
                Err(RecvTimeoutError::Disconnected) => bail!("events of the kernel were lost"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
