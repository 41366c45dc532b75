//! One connection to a server: from the opening of its event stream to the loss of it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::error::{ServerError, excerpt};
use super::http::Client;
use super::known::Known;
use super::lxd::events::{self, Events, Received, Worth};
use super::lxd::first_process::{Answers, FirstProcess};
use super::lxd::read;
use super::lxd::reading::{Info, Reading};
use super::patience::{Patience, Pauses};
use super::timetable::Timetable;
use crate::model::ServerId;

/// The knowledge and plans while the event stream lives.
pub(super) struct Session<'a> {
    known: &'a mut Known,
    patience: &'a Patience,
    id: &'a ServerId,
    client: Client,
    timetable: Timetable,
    /// The pauses between listings that fail.
    pauses: Pauses,
    /// The server's own description, the last one …
    info: Option<Info>,
    /// … and whether that may have changed.
    outdated: bool,
    /// The log has a warning of an event that was not understood. There is one in each session.
    warned: bool,
}

type PendingReading = Pin<Box<dyn Future<Output = Result<Reading, ServerError>> + Send>>;

impl<'a> Session<'a> {
    /// Connects. The event stream comes first, so that a change during the first listing is not missed.
    pub(super) async fn open(
        known: &'a mut Known,
        patience: &'a Patience,
        id: &'a ServerId,
        socket: &Path,
    ) -> Result<(Session<'a>, Events), ServerError> {
        let client = Client::new(socket, patience)?;
        let stream = events::dial(socket, patience).await?;
        known.published.reached(socket);
        let events = Events::open(socket, stream, patience).await?;
        let (timetable, pauses) = (Timetable::new(patience, Instant::now()), Pauses::new(patience));
        let (info, outdated, warned) = (None, true, false);
        Ok((Session { known, patience, id, client, timetable, pauses, info, outdated, warned }, events))
    }

    /// Lists the server whenever there is a reason to, until the event stream is lost. Returns
    /// [`ServerError::Lost`] only if the server has been read.
    pub(super) async fn run_until_lost(mut self, mut events: Events) -> ServerError {
        let mut listing: Option<PendingReading> = None;
        let mut answers: Option<Answers> = None;
        loop {
            if listing.is_none() && self.timetable.due() <= Instant::now() {
                listing = Some(self.list());
            }
            if answers.is_none() && self.known.has_read {
                answers = self.known.first_processes.answers(&self.client, self.patience);
            }
            let still_open = tokio::select! {
                // Events are read during a listing too, because the server hangs up on a client that does not
                // read.
                received = events.next() => self.received(received),
                listed = listed(&mut listing) => {
                    listing = None;
                    self.listed(listed)
                }
                answer = next(&mut answers) => {
                    match answer {
                        Some(answer) => self.known.answered(answer),
                        None => {
                            answers = None;
                            if self.known.first_processes.are_missing() {
                                self.timetable.lacks_parts(Instant::now());
                            }
                        }
                    }
                    Ok(())
                }
                () = sleep_until(self.timetable.due()), if listing.is_none() => Ok(()),
                () = self.known.questions.wake.notified() => {
                    self.timetable.happened(Instant::now());
                    Ok(())
                }
            };
            if let Err(error) = still_open {
                return error;
            }
        }
    }

    fn list(&mut self) -> PendingReading {
        self.timetable.begin(Instant::now());
        let outdated = std::mem::take(&mut self.outdated);
        let info = self.info.clone().filter(|_| !outdated);
        let before = self.known.reading.as_ref().map(Arc::clone);
        let asked = self.known.questions.first_processes();
        Box::pin(read::read(self.client.clone(), self.patience.clone(), info, before, asked))
    }

    fn received(&mut self, received: Result<Received, ServerError>) -> Result<(), ServerError> {
        let event = match received {
            Ok(Received::Event(event)) => event,
            Ok(Received::Life) => return Ok(()),
            Err(error) if self.known.has_read => return Err(error),
            Err(error) => return Err(ServerError::Failed(error.to_string())),
        };
        self.known.questions.count(|tally| tally.events += 1);
        let now = Instant::now();
        let worth = events::weigh(&event, self.info.as_ref());
        match worth {
            Worth::Nothing => {}
            Worth::Guests | Worth::Server | Worth::Unknown => self.timetable.happened(now),
            Worth::Migration => self.timetable.migration(now),
        }
        self.outdated |= matches!(worth, Worth::Server | Worth::Migration);
        if worth == Worth::Unknown && !std::mem::replace(&mut self.warned, true) {
            warn!("server {}: an event that is not understood: {}", self.id, excerpt(&event));
        }
        Ok(())
    }

    fn listed(&mut self, listed: Result<Reading, ServerError>) -> Result<(), ServerError> {
        self.timetable.end(Instant::now());
        match listed {
            Ok(reading) => {
                self.info = Some(reading.info.clone());
                if reading.message().is_some() {
                    self.timetable.lacks_parts(Instant::now());
                }
                self.known.enter(reading);
                self.pauses.reset();
                Ok(())
            }
            // Its events still arrive. The listing that failed now will succeed later.
            Err(error) if self.known.has_read => {
                self.known.published.failed(&error);
                self.outdated = true;
                self.timetable.failed(Instant::now(), self.pauses.next());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

async fn listed(listing: &mut Option<PendingReading>) -> Result<Reading, ServerError> {
    match listing {
        Some(listing) => listing.await,
        None => std::future::pending().await,
    }
}

async fn next(answers: &mut Option<Answers>) -> Option<FirstProcess> {
    match answers {
        Some(answers) => answers.next().await,
        None => std::future::pending().await,
    }
}
