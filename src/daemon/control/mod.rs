//! The control socket: HTTP over a unix socket, as LXD's own. It only reads, and it cannot hold up the
//! daemon: connections are few, short-lived and carry one small request each, and one status is made at a time, with
//! a pause after it.
//!
//! Who may connect is the file's business, its owner and its group (mode 0660), and that of `peer` once more.

mod bind;
mod peer;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

pub use self::bind::{BindError, bind};
use self::peer::{Asker, Peer};
use crate::model::names;
use crate::model::status::Status;

/// A question to the daemon's loop: answer with the present status.
pub type StatusRequest = oneshot::Sender<Arc<Status>>;

/// How many connections of root are served at once, while others wait in the kernel's queue; and how many of other
/// users, where those beyond are turned away: they cannot keep root waiting.
const CONNECTIONS: usize = 16;
/// How long a connection may take in all, also for a peer that does not read.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many bytes the head of a request may have; the least that hyper takes.
const HEAD: usize = 8192;
/// So many times as long as it took to make a status nobody gets the next one.
const REST: u32 = 3;
/// How long to wait where the kernel has no file descriptor for us.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until it is dropped. `ask` leads to the daemon's loop.
pub async fn serve(listener: UnixListener, ask: mpsc::Sender<StatusRequest>) {
    serve_within(DEADLINE, listener, ask).await;
}

/// Serves one connection, as if root asked: for those who try it with anything (`tests/fuzz`).
pub async fn serve_one(stream: UnixStream, ask: mpsc::Sender<StatusRequest>) {
    let desk = Arc::new(Desk { ask, turn: Arc::default(), line: Mutex::default() });
    connection(stream, desk, Asker::Root).await;
}

async fn serve_within(deadline: Duration, listener: UnixListener, ask: mpsc::Sender<StatusRequest>) {
    let (roots, others) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(CONNECTIONS)));
    let group = peer::group();
    let desk = Arc::new(Desk { ask, turn: Arc::default(), line: Mutex::default() });
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
                let desk = desk.clone();
                connections.spawn(async move {
                    let _slot = slot;
                    let served = async {
                        let asker = Asker::of(peer, group).await;
                        connection(stream, desk, asker).await;
                    };
                    if tokio::time::timeout(deadline, served).await.is_err() {
                        tracing::debug!("a control connection took too long");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, desk: Arc<Desk>, asker: Asker) {
    let service = service_fn(|request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(request, &desk, asker).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a control connection failed");
    }
}

/// Where a status is asked for.
struct Desk {
    ask: mpsc::Sender<StatusRequest>,
    /// Held while one is made, and a while longer.
    turn: Arc<Mutex<()>>,
    /// Where all but root wait for their turn, so that root never stands behind more than one of them.
    line: Mutex<()>,
}

async fn answer(request: Request<Incoming>, desk: &Desk, asker: Asker) -> Response<Full<Bytes>> {
    if asker == Asker::Stranger {
        return refuse(StatusCode::FORBIDDEN, "only root and the members of the socket's group may ask");
    }
    let path = request.uri().path();
    if !["/1.0", "/1.0/status"].contains(&path.trim_end_matches('/')) {
        return refuse(StatusCode::NOT_FOUND, &format!("there is no {path}; there are /1.0 and /1.0/status"));
    }
    if request.method() != Method::GET {
        let message = format!("{path} can only be read; expected GET, not {}", request.method());
        let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, &message);
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
        return response;
    }
    if !request.body().is_end_stream() {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "no request has a body");
    }
    match path.trim_end_matches('/') {
        "/1.0" => respond(
            StatusCode::OK,
            &json!({"program": names::PROGRAM, "version": env!("CARGO_PKG_VERSION"), "paths": ["/1.0/status"]}),
        ),
        _ => match desk.status(asker).await {
            Some(response) => response,
            None => refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"),
        },
    }
}

impl Desk {
    /// The status as an answer. It is put into words in another thread, for that of a thousand guests takes a while.
    async fn status(&self, asker: Asker) -> Option<Response<Full<Bytes>>> {
        let _first_in_line = match asker {
            Asker::Root => None,
            _ => Some(self.line.lock().await),
        };
        let turn = self.turn.clone().lock_owned().await;
        let began = Instant::now();
        let (reply, answered) = oneshot::channel();
        self.ask.send(reply).await.ok()?;
        let status = answered.await.ok()?;
        let response = tokio::task::spawn_blocking(move || respond(StatusCode::OK, &*status)).await.ok()?;
        let rest = began.elapsed() * REST;
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            drop(turn);
        });
        Some(response)
    }
}

fn refuse(code: StatusCode, message: &str) -> Response<Full<Bytes>> {
    respond(code, &json!({"error": message}))
}

/// Pretty, so that curl and `status --json` show the same bytes.
fn respond(code: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let (code, mut bytes) = match serde_json::to_vec_pretty(body) {
        Ok(bytes) => (code, bytes),
        Err(error) => {
            tracing::error!(%error, "cannot write the answer as JSON");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                br#"{"error": "the daemon cannot write its answer"}"#.to_vec(),
            )
        }
    };
    bytes.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Daemon {
        folder: tempfile::TempDir,
        _tasks: JoinSet<()>,
    }

    impl Daemon {
        fn start() -> Daemon {
            Daemon::start_within(DEADLINE)
        }

        fn start_within(deadline: Duration) -> Daemon {
            let folder = tempfile::tempdir().unwrap();
            let listener = bind(&folder.path().join("run/control.sock")).unwrap();
            let (ask, mut asked) = mpsc::channel::<StatusRequest>(1);
            let mut tasks = JoinSet::new();
            tasks.spawn(serve_within(deadline, listener, ask));
            tasks.spawn(async move {
                while let Some(reply) = asked.recv().await {
                    let _ = reply.send(Arc::new(nothing()));
                }
            });
            Daemon { folder, _tasks: tasks }
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
        assert_eq!((&body["program"], &body["paths"]), (&json!("macvlan-shim"), &json!(["/1.0/status"])));
    }

    #[tokio::test]
    async fn other_requests_are_refused_in_words() {
        let daemon = Daemon::start();
        for (request, line, error) in [
            ("GET /2.0", "404 Not Found", "there is no /2.0; there are /1.0 and /1.0/status"),
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
        let began = std::time::Instant::now();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(daemon.connect().await);
        }
        let (line, _) = daemon.say("GET /1.0/status HTTP/1.1\r\nhost: d\r\n\r\n").await;
        assert_eq!(line, "HTTP/1.1 200 OK");
        assert!(began.elapsed() >= deadline / 2, "more were served at once than should be");
    }

    #[tokio::test]
    async fn a_loop_that_has_ended_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = bind(&path).unwrap();
        let (ask, asked) = mpsc::channel(1);
        drop(asked);
        let _server = tokio::spawn(serve(listener, ask));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET /1.0/status HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 503 ") && answer.contains("the daemon is stopping"), "{answer}");
    }
}
