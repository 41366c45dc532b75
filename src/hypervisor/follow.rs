//! Follows one server for ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::asks::Asks;
use super::discover::{self, Reading};
use super::feed::{self, Feed};
use super::http::Client;
use super::inits::Inits;
use super::limits::{Limits, Pauses};
use super::lookout::Lookout;
use super::session::Session;
use super::surroundings::Surroundings;
use super::target::Target;
use super::trouble::Trouble;
use crate::model::ServerId;
use crate::model::inventory::Server;

/// How often a server that may be ending is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Follows one server for ever: [`Follower::follow`] on a real host.
pub fn follow(
    target: Target,
    updates: mpsc::Sender<(ServerId, Server)>,
    asks: Arc<Asks>,
) -> impl Future<Output = ()> + Send {
    Follower::from(target).follow(updates, asks)
}

/// Reads one server once: [`Follower::read`] on a real host.
pub async fn read(target: &Target) -> Server {
    Follower::from(target.clone()).read().await
}

/// Reads one server, once or for ever.
#[derive(Clone, Debug)]
pub struct Follower {
    target: Target,
    limits: Limits,
    surroundings: Surroundings,
}

impl From<Target> for Follower {
    fn from(target: Target) -> Follower {
        Follower { target, limits: Limits::default(), surroundings: Surroundings::default() }
    }
}

impl Follower {
    /// With other limits and surroundings than those of a real host, for tests.
    pub fn new(target: Target, limits: Limits, surroundings: Surroundings) -> Follower {
        Follower { target, limits, surroundings }
    }

    /// Reads the server once. Starts none that is stopped.
    pub async fn read(&self) -> Server {
        let mut server = self.target.unread();
        let result = match self.surroundings.socket(&self.target) {
            Ok(socket) => {
                server.socket.clone_from(&socket);
                match Client::new(&socket, &self.limits) {
                    Ok(client) => {
                        discover::read(client, self.limits.clone(), None, None, BTreeSet::new()).await
                    }
                    Err(trouble) => Err(trouble),
                }
            }
            Err(trouble) => Err(trouble),
        };
        match result {
            Ok(reading) => feed::apply(&mut server, &reading),
            Err(trouble) => feed::blame(&mut server, &trouble),
        }
        server
    }

    /// Follows the server: sends a whole value whenever anything of it changed, the first at once. If the receiver is
    /// slow it misses values, but never the newest. Ends when the receiver is gone.
    pub async fn follow(self, updates: mpsc::Sender<(ServerId, Server)>, asks: Arc<Asks>) {
        let feed = Feed::new(&self.target);
        let forward = feed.forward(updates.clone());
        let inits = Inits::default();
        let follow = Follow { follower: self, feed, asks, reading: None, inits, has_read: false };
        tokio::select! {
            () = forward => {}
            () = updates.closed() => {}
            () = follow.run() => {}
        }
    }
}

/// The state of following, over all sessions.
pub(super) struct Follow {
    follower: Follower,
    pub(super) feed: Feed,
    pub(super) asks: Arc<Asks>,
    /// The last one, for what the next cannot tell.
    pub(super) reading: Option<Reading>,
    pub(super) inits: Inits,
    /// It was read since the last connecting.
    pub(super) has_read: bool,
}

impl Follow {
    async fn run(mut self) {
        let mut pauses = Pauses::new(&self.follower.limits);
        loop {
            let began = Instant::now();
            // Before we look: what comes later is not missed.
            let lookout = Lookout::new(&self.follower.target);
            self.has_read = false;
            let trouble = match self.follower.surroundings.socket(&self.follower.target) {
                Ok(socket) => self.session(&socket).await,
                Err(trouble) => trouble,
            };
            self.feed.trouble(&trouble);
            // A server that is lost over and over is given longer and longer pauses.
            if self.has_read && began.elapsed() > self.follower.limits.follow_ups[0] {
                pauses.reset();
            }
            if self.has_read {
                self.see_off().await;
            }
            tokio::select! {
                () = sleep(pauses.next()) => {}
                () = self.asks.wake.notified() => {}
                // It may take some looks until it listens.
                () = lookout.stirs() => pauses.reset(),
            }
            sleep_until(began + self.follower.limits.looks).await;
        }
    }

    /// A server of systemd that was told to stop closes its event stream first. Were we to connect before it has ended,
    /// systemd might take that for a reason to start it again; so nothing cuts this short.
    async fn see_off(&self) {
        let Some(pid) = self.reading.as_ref().map(|reading| reading.info.pid) else { return };
        let until = Instant::now() + self.follower.limits.farewell;
        while self.follower.surroundings.may_be_ending(&self.follower.target, pid) && Instant::now() < until {
            sleep(LOOK).await;
        }
    }

    /// From connecting to the loss of the connection.
    async fn session(&mut self, socket: &Path) -> Trouble {
        match Session::open(self, socket).await {
            Ok((session, events)) => session.run(events).await,
            Err(trouble) => trouble,
        }
    }

    pub(super) fn id(&self) -> &ServerId {
        &self.follower.target.id
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.follower.limits
    }
}
