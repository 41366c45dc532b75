//! Follows one server for ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::agenda::Agenda;
use super::asks::Asks;
use super::discover::{self, Info, Reading};
use super::events::{self, Events, Heard, Worth};
use super::feed::{self, Feed};
use super::http::Client;
use super::inits::{Answer, Inits, Round};
use super::limits::{Limits, Pauses};
use super::lookout::Lookout;
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

/// The state of following.
struct Follow {
    follower: Follower,
    feed: Feed,
    asks: Arc<Asks>,
    /// The last one, for what the next cannot tell.
    reading: Option<Reading>,
    inits: Inits,
    /// It was read since the last connecting.
    has_read: bool,
}

type Listing = Pin<Box<dyn Future<Output = Result<Reading, Trouble>> + Send>>;

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

    /// From connecting to the loss of the connection. [`Trouble::Lost`] only if the server has been read.
    async fn session(&mut self, socket: &Path) -> Trouble {
        let limits = self.follower.limits.clone();
        let client = match Client::new(socket, &limits) {
            Ok(client) => client,
            Err(trouble) => return trouble,
        };
        let stream = match events::dial(socket, &limits).await {
            Ok(stream) => stream,
            Err(trouble) => return trouble,
        };
        self.feed.reached(socket);
        let mut events = match Events::open(socket, stream, &limits).await {
            Ok(events) => events,
            Err(trouble) => return trouble,
        };
        let mut agenda = Agenda::new(&limits, Instant::now());
        let mut pauses = Pauses::new(&limits);
        let mut info: Option<Info> = None;
        let mut outdated = true;
        let mut listing: Option<Listing> = None;
        let mut round: Option<Round> = None;
        let mut told = false;
        loop {
            if listing.is_none() && agenda.due() <= Instant::now() {
                agenda.begin(Instant::now());
                let known = info.clone().filter(|_| !outdated);
                outdated = false;
                let before = self.reading.clone();
                let inits = self.asks.inits();
                let reading = discover::read(client.clone(), limits.clone(), known, before, inits);
                listing = Some(Box::pin(reading));
            }
            if round.is_none() && self.has_read {
                round = self.inits.round(&client, &limits);
            }
            tokio::select! {
                // Events are drained also while a listing is under way: the server hangs up on who does not.
                heard = events.next() => match heard {
                    Ok(Heard::Life) => {}
                    Ok(Heard::Event(event)) => {
                        let now = Instant::now();
                        let worth = events::weigh(&event, info.as_ref());
                        match worth {
                            Worth::Nothing => {}
                            Worth::Guests | Worth::Server | Worth::Unknown => agenda.happened(now),
                            Worth::Moving => agenda.moving(now),
                        }
                        outdated |= matches!(worth, Worth::Server | Worth::Moving);
                        if worth == Worth::Unknown && !told {
                            told = true;
                            let (id, event) = (&self.follower.target.id, super::trouble::excerpt(&event));
                            warn!("server {id}: an event that is not understood: {event}");
                        }
                    }
                    Err(trouble) if self.has_read => return trouble,
                    Err(trouble) => return Trouble::Failed(trouble.to_string()),
                },
                result = ended(&mut listing) => {
                    listing = None;
                    agenda.end(Instant::now());
                    match result {
                        Ok(mut reading) => {
                            self.inits.listed(&mut reading);
                            self.feed.read(&reading);
                            info = Some(reading.info.clone());
                            self.reading = Some(reading);
                            self.has_read = true;
                            pauses.reset();
                        }
                        // It still tells us what happens; what it could not list now it will list later.
                        Err(trouble) if self.has_read => {
                            self.feed.trouble(&trouble);
                            outdated = true;
                            agenda.failed(Instant::now(), pauses.next());
                        }
                        Err(trouble) => return trouble,
                    }
                }
                answer = next(&mut round) => match (answer, &mut self.reading) {
                    (Some(answer), Some(reading)) => {
                        if self.inits.answered(answer, reading) {
                            self.feed.read(reading);
                        }
                    }
                    _ => round = None,
                },
                () = sleep_until(agenda.due()), if listing.is_none() => {}
                () = self.asks.wake.notified() => agenda.happened(Instant::now()),
            }
        }
    }
}

async fn ended(listing: &mut Option<Listing>) -> Result<Reading, Trouble> {
    match listing {
        Some(listing) => listing.await,
        None => std::future::pending().await,
    }
}

async fn next(round: &mut Option<Round>) -> Option<Answer> {
    match round {
        Some(round) => round.next().await,
        None => std::future::pending().await,
    }
}
