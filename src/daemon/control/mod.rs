//! The control socket: HTTP over a unix socket, like LXD's own. It only reads, and it cannot hold up the
//! daemon: connections are few, short-lived and carry one small request each, and answers are made at the
//! publishers' pace.
//!
//! The file's owner, group and mode (0660) decide who may connect, and `peer` checks it once more. Each path
//! has its own file.

mod answer;
mod bind;
mod connection;
mod events;
mod explain;
mod metrics;
mod page;
mod passed;
mod peer;
mod root;
mod router;
mod status;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use self::bind::{BindError, bind};
use self::connection::{CONNECTIONS, DEADLINE, PAUSE, connection};
pub use self::passed::{passed_listener, serve_metrics};
use self::peer::{Asker, Peer};
use self::router::Router;
use crate::daemon::publishers::Readers;

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, readers: Readers) {
    serve_within(DEADLINE, listener, Router::new(readers)).await;
}

/// Serves one connection, as if root asked, for tests that try it with anything (`tests/fuzz`).
pub async fn serve_one(stream: UnixStream, readers: Readers) {
    connection(stream, DEADLINE, Arc::new(Router::new(readers)), async { Asker::Root }).await;
}

async fn serve_within(deadline: Duration, listener: UnixListener, router: Router) {
    let (roots, others) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(CONNECTIONS)));
    let group = peer::group();
    let router = Arc::new(router);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = Peer::of(&stream);
                let slot = match peer {
                    Peer::Root => roots.clone().acquire_owned().await.ok(),
                    _ => others.clone().try_acquire_owned().ok(),
                };
                let Some(slot) = slot else { continue };
                let router = Arc::clone(&router);
                connections.spawn(async move {
                    let _slot = slot;
                    connection(stream, deadline, router, Asker::of(peer, group)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::connection::HEAD;
    use super::*;
    use crate::daemon::history;
    use crate::daemon::history::EventHistory;
    use crate::daemon::publishers::channels;
    use crate::model::explanation::Explanations;
    use crate::model::status::Status;
    use crate::report::Report;

    struct Daemon {
        folder: tempfile::TempDir,
        history: EventHistory,
        _tasks: JoinSet<()>,
    }

    impl Daemon {
        fn start() -> Daemon {
            Daemon::start_within(DEADLINE)
        }

        fn start_within(deadline: Duration) -> Daemon {
            let folder = tempfile::tempdir().unwrap();
            let listener = bind(&folder.path().join("run/control.sock")).unwrap();
            let (history, past) = history::channel();
            let (mut publishers, readers) = channels(past);
            let mut tasks = JoinSet::new();
            tasks.spawn(serve_within(deadline, listener, Router::new(readers)));
            tasks.spawn(async move {
                loop {
                    // The second question waits for the pace.
                    let _ = tokio::time::timeout(Duration::from_millis(20), publishers.asked()).await;
                    let explain = |sought: &_| {
                        let subject = format!("{sought}");
                        Arc::new(Explanations { subject, ..Explanations::default() })
                    };
                    publishers.explanations.answer(Instant::now(), explain);
                    publishers.reports.answer(Instant::now(), |()| {
                        Arc::new(Report { status: nothing(), ..Report::default() })
                    });
                }
            });
            Daemon { folder, history, _tasks: tasks }
        }

        async fn connect(&self) -> UnixStream {
            UnixStream::connect(self.folder.path().join("run/control.sock")).await.unwrap()
        }

        /// Status line and body of the answer to these bytes.
        async fn say(&self, request: &str) -> (String, String) {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.lines().next().unwrap().to_owned(), body.to_owned())
        }
    }

    fn nothing() -> Status {
        Status { ready: true, ..Status::default() }
    }

    #[tokio::test]
    async fn status_is_the_plain_object() {
        let (line, body) = Daemon::start().say("GET /1.0/status HTTP/1.1\r\nhost: d\r\n\r\n").await;
        assert_eq!(line, "HTTP/1.1 200 OK");
        assert_eq!(body, serde_json::to_string_pretty(&nothing()).unwrap() + "\n");
    }

    #[tokio::test]
    async fn the_root_names_the_program_and_its_paths() {
        let (line, body) = Daemon::start().say("GET /1.0 HTTP/1.0\r\n\r\n").await;
        assert_eq!(line, "HTTP/1.0 200 OK");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&body["program"], &body["paths"]),
            (&json!("macvlan-shim"), &json!(["/1.0/events", "/1.0/explain", "/1.0/status", "/metrics"]))
        );
    }

    #[tokio::test]
    async fn a_subject_is_explained_however_it_is_written() {
        let daemon = Daemon::start();
        for (query, subject) in
            [("subject=lxd%3Ashop%2Fweb", "lxd:shop/web"), ("x=1&subject=fd00::9", "fd00::9")]
        {
            let (line, body) =
                daemon.say(&format!("GET /1.0/explain?{query} HTTP/1.1\r\nhost: d\r\n\r\n")).await;
            assert_eq!(line, "HTTP/1.1 200 OK");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["subject"], subject);
        }
        for query in [String::new(), "?subject=".to_owned(), format!("?subject={}", "x".repeat(513))] {
            let (line, body) =
                daemon.say(&format!("GET /1.0/explain{query} HTTP/1.1\r\nhost: d\r\n\r\n")).await;
            assert_eq!(line, "HTTP/1.1 400 Bad Request");
            assert!(body.contains("needs a subject"), "{body}");
        }
    }

    #[tokio::test]
    async fn other_requests_are_refused_in_words() {
        let daemon = Daemon::start();
        for (request, line, error) in [
            (
                "GET /2.0",
                "404 Not Found",
                "there is no /2.0; there are /1.0, /1.0/events, /1.0/explain, /1.0/status, /metrics",
            ),
            (
                "PUT /1.0/status",
                "405 Method Not Allowed",
                "/1.0/status can only be read; expected GET, not PUT",
            ),
            ("GET /1.0", "413 Payload Too Large", "no request has a body"),
        ] {
            let length = if line.starts_with("413") { 3 } else { 0 };
            let request = format!("{request} HTTP/1.1\r\nhost: d\r\ncontent-length: {length}\r\n\r\n");
            let (head, body) = daemon.say(&request).await;
            assert_eq!(head, format!("HTTP/1.1 {line}"));
            assert_eq!(body, serde_json::to_string_pretty(&json!({"error": error})).unwrap() + "\n");
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut_off() {
        let daemon = Daemon::start();
        let (line, _) = daemon.say(&format!("{:x<HEAD$}", "GET /1.0 HTTP/1.1\r\nx: ")).await;
        assert_eq!(line, "HTTP/1.1 431 Request Header Fields Too Large");
    }

    #[tokio::test]
    async fn silent_peers_only_delay_others_until_their_deadline() {
        let deadline = Duration::from_millis(300);
        let daemon = Daemon::start_within(deadline);
        let began = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(daemon.connect().await);
        }
        let (line, _) = daemon.say("GET /1.0/status HTTP/1.1\r\nhost: d\r\n\r\n").await;
        assert_eq!(line, "HTTP/1.1 200 OK");
        assert!(began.elapsed() >= deadline / 2, "more were served at once than should be");
    }

    #[tokio::test]
    async fn the_answer_after_the_loops_end_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = bind(&path).unwrap();
        let (_history, past) = history::channel();
        let (publishers, readers) = channels(past);
        drop(publishers);
        let _server = tokio::spawn(serve(listener, readers));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET /1.0/status HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 503 ") && answer.contains("the daemon is stopping"), "{answer}");
    }

    #[tokio::test]
    async fn a_stream_may_take_longer_than_an_answer() {
        let deadline = Duration::from_millis(100);
        let mut daemon = Daemon::start_within(deadline);
        let mut stream = daemon.connect().await;
        stream.write_all(b"GET /1.0/events?follow HTTP/1.0\r\n\r\n").await.unwrap();
        tokio::time::sleep(deadline * 3).await;
        let status = Status { time: std::time::SystemTime::now().into(), ..nothing() };
        daemon.history.take_in(vec![crate::report::started(&status, 1)]);
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it was cut off");
        }
        assert!(String::from_utf8_lossy(&answer).contains(r#""to":"ready""#));
    }
}
