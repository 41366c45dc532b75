//! One connection to a server: from the opening of its event stream to the loss of it.

use std::path::Path;
use std::pin::Pin;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::error::{ServerError, excerpt};
use super::follow::Follow;
use super::http::Client;
use super::lxd::events::{self, Events, Received, Worth};
use super::lxd::first_process::{Answer, Answers};
use super::lxd::read::{self, Info, Reading};
use super::patience::{Patience, Pauses};
use super::timetable::Timetable;

/// What is known and planned while the event stream lives.
pub(super) struct Session<'a> {
    follow: &'a mut Follow,
    patience: Patience,
    client: Client,
    timetable: Timetable,
    /// Between listings that fail.
    pauses: Pauses,
    /// Who the server is, as it said last …
    info: Option<Info>,
    /// … and whether that may have changed.
    outdated: bool,
    /// An event that was not understood has been told of.
    told: bool,
}

type Listing = Pin<Box<dyn Future<Output = Result<Reading, ServerError>> + Send>>;

impl<'a> Session<'a> {
    /// Connects. The stream comes first: what happens while the server is listed is not missed.
    pub(super) async fn open(
        follow: &'a mut Follow,
        socket: &Path,
    ) -> Result<(Session<'a>, Events), ServerError> {
        let patience = follow.patience().clone();
        let client = Client::new(socket, &patience)?;
        let stream = events::dial(socket, &patience).await?;
        follow.published.reached(socket);
        let events = Events::open(socket, stream, &patience).await?;
        let (timetable, pauses) = (Timetable::new(&patience, Instant::now()), Pauses::new(&patience));
        let session =
            Session { follow, patience, client, timetable, pauses, info: None, outdated: true, told: false };
        Ok((session, events))
    }

    /// Lists whatever there is a reason to list, until the stream is lost. [`ServerError::Lost`] only if the server has been
    /// read.
    pub(super) async fn run_until_lost(mut self, mut events: Events) -> ServerError {
        let mut listing: Option<Listing> = None;
        let mut answers: Option<Answers> = None;
        loop {
            if listing.is_none() && self.timetable.due() <= Instant::now() {
                listing = Some(self.list());
            }
            if answers.is_none() && self.follow.has_read {
                answers = self.follow.first_processes.answers(&self.client, &self.patience);
            }
            let still = tokio::select! {
                // Events are drained also while a listing is under way: the server hangs up on who does not.
                heard = events.next() => self.heard(heard),
                listed = ended(&mut listing) => {
                    listing = None;
                    self.listed(listed)
                }
                answer = next(&mut answers) => {
                    match answer {
                        Some(answer) => self.answered(answer),
                        None => answers = None,
                    }
                    Ok(())
                }
                () = sleep_until(self.timetable.due()), if listing.is_none() => Ok(()),
                () = self.follow.questions.wake.notified() => {
                    self.timetable.happened(Instant::now());
                    Ok(())
                }
            };
            if let Err(error) = still {
                return error;
            }
        }
    }

    fn list(&mut self) -> Listing {
        self.timetable.begin(Instant::now());
        let outdated = std::mem::take(&mut self.outdated);
        let known = self.info.clone().filter(|_| !outdated);
        let before = self.follow.reading.clone();
        let first_processes = self.follow.questions.first_processes();
        Box::pin(read::read(self.client.clone(), self.patience.clone(), known, before, first_processes))
    }

    fn heard(&mut self, heard: Result<Received, ServerError>) -> Result<(), ServerError> {
        let event = match heard {
            Ok(Received::Event(event)) => event,
            Ok(Received::Life) => return Ok(()),
            Err(error) if self.follow.has_read => return Err(error),
            Err(error) => return Err(ServerError::Failed(error.to_string())),
        };
        let now = Instant::now();
        let worth = events::weigh(&event, self.info.as_ref());
        match worth {
            Worth::Nothing => {}
            Worth::Guests | Worth::Server | Worth::Unknown => self.timetable.happened(now),
            Worth::Migration => self.timetable.migration(now),
        }
        self.outdated |= matches!(worth, Worth::Server | Worth::Migration);
        if worth == Worth::Unknown && !std::mem::replace(&mut self.told, true) {
            warn!("server {}: an event that is not understood: {}", self.follow.id(), excerpt(&event));
        }
        Ok(())
    }

    fn listed(&mut self, listed: Result<Reading, ServerError>) -> Result<(), ServerError> {
        self.timetable.end(Instant::now());
        match listed {
            Ok(mut reading) => {
                self.follow.first_processes.listed(&mut reading);
                self.follow.published.publish(&reading);
                self.info = Some(reading.info.clone());
                self.follow.reading = Some(reading);
                self.follow.has_read = true;
                self.pauses.reset();
            }
            // It still tells us what happens; what it could not list now it will list later.
            Err(error) if self.follow.has_read => {
                self.follow.published.failed(&error);
                self.outdated = true;
                self.timetable.failed(Instant::now(), self.pauses.next());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn answered(&mut self, answer: Answer) {
        let Follow { first_processes, reading: Some(reading), published, .. } = &mut *self.follow else {
            return;
        };
        if first_processes.answered(answer, reading) {
            published.publish(reading);
        }
    }
}

async fn ended(listing: &mut Option<Listing>) -> Result<Reading, ServerError> {
    match listing {
        Some(listing) => listing.await,
        None => std::future::pending().await,
    }
}

async fn next(answers: &mut Option<Answers>) -> Option<Answer> {
    match answers {
        Some(answers) => answers.next().await,
        None => std::future::pending().await,
    }
}
