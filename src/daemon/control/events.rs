//! `GET /1.0/events`: the last changes of states, a line of JSON each. With `?since=TIME` those since then, with
//! `?follow` also those to come.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::answer::{Answer, refuse};
use crate::daemon::history::HistoryReader;
use crate::model::Timestamp;
use crate::model::history::StateChange;

pub(super) const PATH: &str = "/1.0/events";

/// How long a stream lasts. Whoever wants more asks again, so nobody stays who does not read.
pub(super) const STREAM: Duration = Duration::from_secs(600);
/// Maximum number of streams at a time.
const STREAMS: usize = 8;
/// Maximum number of changes that are written at once.
const BATCH: usize = 32;

/// The changes of states, for everybody who asks.
pub(super) struct EventsPage {
    past: HistoryReader,
    streams: Arc<Semaphore>,
}

/// The question.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    since: Option<Timestamp>,
    follow: bool,
}

/// A reader's place.
struct StreamPlace {
    past: HistoryReader,
    /// The number of the last change that was read.
    last: u64,
    /// Read, and not written yet.
    waiting: VecDeque<Arc<StateChange>>,
    /// When the stream ends, if it goes on.
    until: Option<Instant>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl EventsPage {
    pub(super) fn new(past: HistoryReader) -> EventsPage {
        EventsPage { past, streams: Arc::new(Semaphore::new(STREAMS)) }
    }

    /// The answer to that query.
    pub(super) fn get(&self, query: &str) -> Answer {
        let wanted = match Wanted::of(query) {
            Ok(wanted) => wanted,
            Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
        };
        let slot = match wanted.follow.then(|| Arc::clone(&self.streams).try_acquire_owned()).transpose() {
            Ok(slot) => slot,
            Err(_) => {
                let message = format!("{STREAMS} others follow the events already");
                return refuse(StatusCode::SERVICE_UNAVAILABLE, &message);
            }
        };
        let waiting = match wanted.since {
            Some(time) => self.past.since(time),
            None => self.past.after(0),
        };
        let place = StreamPlace {
            past: self.past.clone(),
            last: waiting.last().map_or_else(|| self.past.last(), |change| change.id),
            waiting: waiting.into(),
            until: wanted.follow.then(|| Instant::now() + STREAM),
            _slot: slot,
        };
        let lines = stream::unfold(place, |mut place| async move {
            let lines = place.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(lines)), place))
        });
        let mut answer = Response::new(StreamBody::new(lines).boxed_unsync());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        answer
    }
}

impl Wanted {
    fn of(query: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "since" => {
                    let time = value.parse().map_err(|error| {
                        format!("since is {value:?}: {error}; expected a time like 2026-11-30T14:02:11Z")
                    })?;
                    wanted.since = Some(time);
                }
                "follow" => wanted.follow = true,
                _ => return Err(format!("there is no {key:?}; there are since and follow")),
            }
        }
        Ok(wanted)
    }
}

impl StreamPlace {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.waiting.is_empty() {
            let until = self.until?;
            match tokio::time::timeout_at(until, self.past.wait(self.last)).await {
                Ok(true) => self.waiting = self.past.after(self.last).into(),
                Ok(false) | Err(_) => return None,
            }
            self.last = self.waiting.back().map_or(self.last, |change| change.id);
        }
        let mut lines = Vec::new();
        for change in self.waiting.drain(..self.waiting.len().min(BATCH)) {
            match serde_json::to_writer(&mut lines, &*change) {
                Ok(()) => lines.push(b'\n'),
                Err(error) => tracing::error!(%error, "cannot write a change as JSON"),
            }
        }
        Some(Bytes::from(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::history::channel;
    use crate::model::history::StateOf;

    fn change(id: u64) -> StateChange {
        let time = Timestamp::from(std::time::UNIX_EPOCH + Duration::from_secs(id));
        StateChange {
            id,
            time,
            of: StateOf::Daemon,
            from: None,
            to: Some("ready".into()),
            reason: None,
            message: None,
        }
    }

    fn ids(text: &[u8]) -> Vec<u64> {
        let lines = std::str::from_utf8(text).unwrap().lines();
        lines.map(|line| serde_json::from_str::<StateChange>(line).unwrap().id).collect()
    }

    /// The changes of the whole answer.
    async fn all(page: &EventsPage, query: &str) -> Vec<u64> {
        let answer = page.get(query);
        assert_eq!(answer.status(), StatusCode::OK, "{query}");
        ids(&answer.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn the_past_is_all_of_it_or_since_a_time() {
        let (mut history, past) = channel();
        let page = EventsPage::new(past);
        assert_eq!(all(&page, "").await, [0; 0]);
        history.take_in((1..=100).map(change).collect());
        assert_eq!(all(&page, "").await, (1..=100).collect::<Vec<_>>());
        assert_eq!(all(&page, "since=1970-01-01T00%3A01%3A38Z").await, [98, 99, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_goes_on_until_its_time_is_over() {
        let (mut history, past) = channel();
        let page = EventsPage::new(past);
        history.take_in(vec![change(1), change(2)]);
        let mut body = page.get("follow&since=1970-01-01T00:00:02Z").into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(ids(&first), [2]);
        history.take_in(vec![change(3), change(4)]);
        let next = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(ids(&next), [3, 4]);
        assert!(body.frame().await.is_none(), "its time is over");
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_loop() {
        let (history, past) = channel();
        let mut body = EventsPage::new(past).get("follow").into_body();
        drop(history);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn streams_are_few() {
        let (_history, past) = channel();
        let page = EventsPage::new(past);
        let streams: Vec<_> = (0..STREAMS).map(|_| page.get("follow")).collect();
        assert_eq!(page.get("follow").status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(page.get("").status(), StatusCode::OK, "the past is for everybody");
        drop(streams);
        assert_eq!(page.get("follow").status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_wrong_question_is_refused_in_words() {
        let (_history, past) = channel();
        let page = EventsPage::new(past);
        for (query, word) in [("since=yesterday", "2026-11-30T14:02:11Z"), ("until=now", "since and follow")]
        {
            let answer = page.get(query);
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains(word), "{body:?}");
        }
    }
}
