//! `events`: shows what has changed, from the daemon's history.

use std::path::Path;
use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, UtcOffset};
use tokio::signal::unix::{SignalKind, signal};

use super::ask::open;
use super::output::print;
use super::table::is_named;
use super::{Failure, GOOD, block_on};
use crate::cli::{EventsArgs, Since};
use crate::model::history::{StateChange, StateOf};
use crate::model::{Timestamp, text};

/// How long to wait until a daemon that went away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows the changes.
pub fn events(socket: &Path, arguments: &EventsArgs) -> Result<u8, Failure> {
    // The system tells it only to a program of one thread.
    let zone = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    block_on(async {
        let cannot = |error| Failure::new("cannot wait for the end").because(&error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut reader = Listener { last: None, zone };
        tokio::select! {
            end = reader.show(socket, arguments) => end?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(GOOD)
    })?
}

/// A reader's place in the history.
struct Listener {
    /// The time and the number of the last change.
    last: Option<(Timestamp, u64)>,
    zone: UtcOffset,
}

impl Listener {
    async fn show(&mut self, socket: &Path, arguments: &EventsArgs) -> Result<(), Failure> {
        let since = arguments.since.map(|since| match since {
            Since::Ago(ago) => Timestamp::from(SystemTime::now()).before(ago),
            Since::At(time) => time,
        });
        let answer = open(socket, &question(since, arguments.follow)).await?;
        self.read(answer, arguments).await?;
        if !arguments.follow {
            return Ok(());
        }
        loop {
            // A stream has an end, and so may the daemon have.
            tokio::time::sleep(PAUSE).await;
            let since = self.last.map(|(time, _)| time).or(since);
            if let Ok(answer) = open(socket, &question(since, true)).await {
                self.read(answer, arguments).await?;
            }
        }
    }

    /// Shows the changes of an answer.
    async fn read(&mut self, mut answer: reqwest::Response, arguments: &EventsArgs) -> Result<(), Failure> {
        let mut rest = Vec::new();
        // A daemon that ends cuts it off.
        while let Ok(Some(bytes)) = answer.chunk().await {
            rest.extend_from_slice(&bytes);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                self.line(&String::from_utf8_lossy(&line), arguments)?;
            }
        }
        Ok(())
    }

    /// Shows a line, if it is a change that the user wants to see and has not seen.
    fn line(&mut self, line: &str, EventsArgs { names, json, .. }: &EventsArgs) -> Result<(), Failure> {
        let change: StateChange = serde_json::from_str(line).map_err(|error| {
            Failure::new("the daemon tells a change that this version does not understand")
                .because(&error)
                .hint("restart the daemon, which leaves every route in place")
        })?;
        if self.last.is_some_and(|(time, id)| time == change.time && change.id <= id) {
            return Ok(());
        }
        self.last = Some((change.time, change.id));
        if !names.is_empty() && !concerns(&change, names) {
            return Ok(());
        }
        match json {
            true => print(line),
            false => print(&format!("{} {}\n", self.clock(change.time), text::words(&change.to_string()))),
        }
    }

    /// A time as people in this zone write it.
    fn clock(&self, time: Timestamp) -> String {
        let time = OffsetDateTime::from(SystemTime::from(time)).to_offset(self.zone);
        let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
        format!("{date} {hour:02}:{minute:02}:{second:02}")
    }
}

/// The path that gives the changes from that time on.
fn question(since: Option<Timestamp>, follow: bool) -> String {
    let mut path = form_urlencoded::Serializer::for_suffix("/1.0/events?".to_owned(), "/1.0/events?".len());
    if let Some(time) = since {
        path.append_pair("since", &time.to_string());
    }
    if follow {
        path.append_key_only("follow");
    }
    path.finish()
}

/// Whether a change is about one of these guests.
fn concerns(change: &StateChange, names: &[String]) -> bool {
    match &change.of {
        StateOf::Nic { guest, .. } | StateOf::Address { guest, .. } => is_named(&guest.to_string(), names),
        // `lxd:web eth0`
        StateOf::Problem { object, .. } => is_named(object.split(' ').next().unwrap_or(object), names),
        _ => false,
    }
}
