//! The line between the daemon under test and a server: the socket of a relay, which comes and goes with the
//! server's own.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use lab::{Machine, Relay};

use crate::site::lock;

/// A line; see the module.
#[derive(Debug)]
pub(crate) struct Line {
    /// The socket as the host sees it.
    pub(crate) socket: String,
    /// Both ends, as seen from outside.
    near: PathBuf,
    far: PathBuf,
    relay: Mutex<Option<Relay>>,
}

impl Line {
    pub(crate) fn new(host: &Machine, server: &str, far: &str) -> Result<Line> {
        let socket = format!("/run/lab/{server}.socket");
        let line = Line { near: host.path(&socket), far: host.path(far), socket, relay: Mutex::default() };
        line.open()?;
        Ok(line)
    }

    /// The server listens.
    pub(crate) fn open(&self) -> Result<()> {
        self.remove();
        *lock(&self.relay) = Some(Relay::start(&self.near, &self.far)?);
        Ok(())
    }

    /// The server is gone. A server that was killed leaves its socket behind.
    pub(crate) fn close(&self, killed: bool) {
        drop(lock(&self.relay).take());
        if !killed {
            self.remove();
        }
    }

    /// Does something to the traffic.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&Relay) -> T) -> Result<T> {
        lock(&self.relay).as_ref().map(act).context("the server is away")
    }

    fn remove(&self) {
        // There may be none.
        let _ = std::fs::remove_file(&self.near);
    }
}
