//! One connection to a server: from the opening of its event stream to the loss of it.

use std::path::Path;
use std::pin::Pin;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::agenda::Agenda;
use super::discover::{self, Info, Reading};
use super::events::{self, Events, Heard, Worth};
use super::follow::Follow;
use super::http::Client;
use super::inits::{Answer, Round};
use super::limits::{Limits, Pauses};
use super::trouble::{Trouble, excerpt};

/// What is known and planned while the event stream lives.
pub(super) struct Session<'a> {
    follow: &'a mut Follow,
    limits: Limits,
    client: Client,
    agenda: Agenda,
    /// Between listings that fail.
    pauses: Pauses,
    /// Who the server is, as it said last …
    info: Option<Info>,
    /// … and whether that may have changed.
    outdated: bool,
    /// An event that was not understood has been told of.
    told: bool,
}

type Listing = Pin<Box<dyn Future<Output = Result<Reading, Trouble>> + Send>>;

impl<'a> Session<'a> {
    /// Connects. The stream comes first: what happens while the server is listed is not missed.
    pub(super) async fn open(
        follow: &'a mut Follow,
        socket: &Path,
    ) -> Result<(Session<'a>, Events), Trouble> {
        let limits = follow.limits().clone();
        let client = Client::new(socket, &limits)?;
        let stream = events::dial(socket, &limits).await?;
        follow.feed.reached(socket);
        let events = Events::open(socket, stream, &limits).await?;
        let (agenda, pauses) = (Agenda::new(&limits, Instant::now()), Pauses::new(&limits));
        let session =
            Session { follow, limits, client, agenda, pauses, info: None, outdated: true, told: false };
        Ok((session, events))
    }

    /// Lists whatever there is a reason to list, until the stream is lost. [`Trouble::Lost`] only if the server has been
    /// read.
    pub(super) async fn run(mut self, mut events: Events) -> Trouble {
        let mut listing: Option<Listing> = None;
        let mut round: Option<Round> = None;
        loop {
            if listing.is_none() && self.agenda.due() <= Instant::now() {
                listing = Some(self.list());
            }
            if round.is_none() && self.follow.has_read {
                round = self.follow.inits.round(&self.client, &self.limits);
            }
            let still = tokio::select! {
                // Events are drained also while a listing is under way: the server hangs up on who does not.
                heard = events.next() => self.heard(heard),
                listed = ended(&mut listing) => {
                    listing = None;
                    self.listed(listed)
                }
                answer = next(&mut round) => {
                    match answer {
                        Some(answer) => self.answered(answer),
                        None => round = None,
                    }
                    Ok(())
                }
                () = sleep_until(self.agenda.due()), if listing.is_none() => Ok(()),
                () = self.follow.asks.wake.notified() => {
                    self.agenda.happened(Instant::now());
                    Ok(())
                }
            };
            if let Err(trouble) = still {
                return trouble;
            }
        }
    }

    fn list(&mut self) -> Listing {
        self.agenda.begin(Instant::now());
        let outdated = std::mem::take(&mut self.outdated);
        let known = self.info.clone().filter(|_| !outdated);
        let before = self.follow.reading.clone();
        let inits = self.follow.asks.inits();
        Box::pin(discover::read(self.client.clone(), self.limits.clone(), known, before, inits))
    }

    fn heard(&mut self, heard: Result<Heard, Trouble>) -> Result<(), Trouble> {
        let event = match heard {
            Ok(Heard::Event(event)) => event,
            Ok(Heard::Life) => return Ok(()),
            Err(trouble) if self.follow.has_read => return Err(trouble),
            Err(trouble) => return Err(Trouble::Failed(trouble.to_string())),
        };
        let now = Instant::now();
        let worth = events::weigh(&event, self.info.as_ref());
        match worth {
            Worth::Nothing => {}
            Worth::Guests | Worth::Server | Worth::Unknown => self.agenda.happened(now),
            Worth::Moving => self.agenda.moving(now),
        }
        self.outdated |= matches!(worth, Worth::Server | Worth::Moving);
        if worth == Worth::Unknown && !std::mem::replace(&mut self.told, true) {
            warn!("server {}: an event that is not understood: {}", self.follow.id(), excerpt(&event));
        }
        Ok(())
    }

    fn listed(&mut self, listed: Result<Reading, Trouble>) -> Result<(), Trouble> {
        self.agenda.end(Instant::now());
        match listed {
            Ok(mut reading) => {
                self.follow.inits.listed(&mut reading);
                self.follow.feed.read(&reading);
                self.info = Some(reading.info.clone());
                self.follow.reading = Some(reading);
                self.follow.has_read = true;
                self.pauses.reset();
            }
            // It still tells us what happens; what it could not list now it will list later.
            Err(trouble) if self.follow.has_read => {
                self.follow.feed.trouble(&trouble);
                self.outdated = true;
                self.agenda.failed(Instant::now(), self.pauses.next());
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    fn answered(&mut self, answer: Answer) {
        let Follow { inits, reading: Some(reading), feed, .. } = &mut *self.follow else { return };
        if inits.answered(answer, reading) {
            feed.read(reading);
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
