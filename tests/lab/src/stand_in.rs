//! A scripted stand-in for LXD or Incus on a unix socket. Tests choose its answers, its fate and its
//! misbehaviour. It is as touchy as the real ones. Like them it accepts nobody else while a new connection
//! has not sent its first eight bytes, and it complains about a client that kept it waiting
//! ([`StandIn::complaints`]).
//!
//! ```no_run
//! # async fn story(folder: &std::path::Path) -> std::io::Result<()> {
//! use lab::stand_in::{Answer, StandIn, container};
//! let server = StandIn::start(folder)?;                      // listens at folder/unix.socket
//! server.set_instances(serde_json::json!([container("c1", "00:16:3e:00:00:01", "eth0")]));
//! server.happens("instance-started");                        // an event; says nothing of the guest
//! server.answer("/1.0/instances", Answer::Hang);             // from now on
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::machine::lock;

/// How long a client may take to send its first eight bytes. Longer than a client on a busy machine may have
/// to wait for its turn.
const SILENT: Duration = Duration::from_secs(2);

/// The ways to answer a request, other than well.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Never; the connection stays open.
    Hang,
    /// The connection is closed without a word.
    Close,
    /// With this status and body.
    Status(u16, String),
    /// With these bytes, headers and all, and then the end.
    Bytes(Vec<u8>),
    /// Well, but only after this time.
    After(Duration),
}

/// The commands to event streams.
#[derive(Clone, Debug)]
enum Order {
    Text(String),
    Raw(Vec<u8>),
    Cut,
}

#[derive(Default)]
struct State {
    server: Value,
    /// As text, because a thousand of them should not be serialised again for each request.
    instances: String,
    others: BTreeMap<String, Value>,
    answers: BTreeMap<String, Answer>,
    requests: Vec<String>,
    complaints: Vec<String>,
    pongs: usize,
    open: usize,
}

struct Shared {
    state: Mutex<State>,
    orders: broadcast::Sender<Order>,
    greets: watch::Sender<bool>,
    pings: watch::Sender<Duration>,
}

/// The stand-in. Ends when it is dropped. Must live in a tokio runtime.
pub struct StandIn {
    socket: PathBuf,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StandIn({})", self.socket.display())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl StandIn {
    /// Listens at `folder/unix.socket` as an LXD 5.0.2 that is not clustered, without instances.
    ///
    /// # Errors
    /// As for [`StandIn::appear`].
    pub fn start(folder: &Path) -> io::Result<StandIn> {
        let mut stand_in = StandIn::absent(folder);
        stand_in.appear()?;
        Ok(stand_in)
    }

    /// It does not listen yet.
    pub fn absent(folder: &Path) -> StandIn {
        let environment = json!({"server": "lxd", "server_version": "5.0.2", "server_name": "host1",
            "server_clustered": false, "server_pid": 4_000_000});
        let state = State {
            server: json!({"auth": "trusted", "api_version": "1.0", "environment": environment}),
            instances: "[]".to_owned(),
            ..State::default()
        };
        let shared = Shared {
            state: Mutex::new(state),
            orders: broadcast::Sender::new(100_000),
            greets: watch::Sender::new(true),
            pings: watch::Sender::new(Duration::from_secs(10)),
        };
        StandIn { socket: folder.join("unix.socket"), shared: Arc::new(shared), task: None }
    }

    /// Begins to listen, as when the daemon starts.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn appear(&mut self) -> io::Result<()> {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket)?;
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
        Ok(())
    }

    /// Stops listening and closes the event streams. The file of the socket stays, as after SIGKILL.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// The path that it listens at.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Changes the metadata of `GET /1.0`.
    pub fn change_server(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.state().server);
    }

    /// Sets the instances that it lists from now on. No event is sent.
    pub fn set_instances(&self, instances: Value) {
        self.state().instances = instances.to_string();
    }

    /// Adds a managed network, by the path and query that it is asked for, such as
    /// `/1.0/networks/mv?project=default`.
    pub fn set_network(&self, path: &str, network: Value) {
        self.set(path, network);
    }

    /// Sets the first process of an instance of the default project from now on.
    pub fn set_init(&self, name: &str, pid: u32) {
        let path = format!("/1.0/instances/{name}/state?project=default");
        self.set(&path, json!({"status": "Running", "pid": pid}));
    }

    /// Sets the answer to a path and query from now on.
    pub fn set(&self, path: &str, metadata: Value) {
        self.state().others.insert(path.to_owned(), metadata);
    }

    /// Answers requests whose path has this prefix in this way. The longest prefix counts. `/1.0` stands only
    /// for itself, `/` for all.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.state().answers.insert(path.to_owned(), answer);
    }

    /// Answers all requests well again.
    pub fn answer_well(&self) {
        self.state().answers.clear();
    }

    /// Sends an event with this action.
    pub fn happens(&self, action: &str) {
        self.happens_at(action, "none");
    }

    /// Sends an event with this action of a cluster member.
    pub fn happens_at(&self, action: &str, location: &str) {
        let metadata = json!({"action": action, "source": "/1.0/instances/c1"});
        let event = json!({"type": "lifecycle", "timestamp": "2026-11-21T09:12:30.333757081Z", "location": location,
            "project": "default", "metadata": metadata});
        self.event(&event.to_string());
    }

    /// Sends this text as an event.
    pub fn event(&self, text: &str) {
        let _ = self.shared.orders.send(Order::Text(text.to_owned()));
    }

    /// Puts these bytes on the event streams, whether they are a frame or not.
    pub fn raw(&self, bytes: &[u8]) {
        let _ = self.shared.orders.send(Order::Raw(bytes.to_owned()));
    }

    /// Closes the event streams without a word.
    pub fn cut(&self) {
        let _ = self.shared.orders.send(Order::Cut);
    }

    /// Sets whether new event streams get their first ping.
    pub fn greet(&self, greets: bool) {
        self.shared.greets.send_replace(greets);
    }

    /// Sets the pause between pings on event streams opened from now on.
    pub fn ping_every(&self, pause: Duration) {
        self.shared.pings.send_replace(pause);
    }

    /// The paths of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// How many requests had a path with this prefix.
    pub fn count(&self, path: &str) -> usize {
        self.state().requests.iter().filter(|request| request.starts_with(path)).count()
    }

    /// How many listings there were.
    pub fn listings(&self) -> usize {
        self.count("/1.0/instances?")
    }

    /// How often it was asked for the state of an instance.
    pub fn states(&self, name: &str) -> usize {
        self.count(&format!("/1.0/instances/{name}/state?"))
    }

    /// How many event streams were asked for.
    pub fn streams(&self) -> usize {
        self.count("/1.0/events")
    }

    /// How many pings were answered.
    pub fn pongs(&self) -> usize {
        self.state().pongs
    }

    /// How many connections are open, the event stream among them.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// Acts of clients that would harm a real server: silent connections, data on the event stream.
    pub fn complaints(&self) -> Vec<String> {
        self.state().complaints.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

/// A running container with one macvlan NIC, `eth0`, as the servers list it.
pub fn container(name: &str, mac: &str, parent: &str) -> Value {
    json!({"name": name, "project": "default", "type": "container", "location": "none", "status": "Running",
        "status_code": 103, "profiles": ["default"], "expanded_config": {"volatile.eth0.hwaddr": mac},
        "expanded_devices": {"eth0": {"type": "nic", "nictype": "macvlan", "parent": parent},
            "root": {"type": "disk", "path": "/", "pool": "default"}}})
}

/// [`container`] with its NIC on a managed network.
pub fn networked(name: &str, mac: &str, network: &str) -> Value {
    let mut instance = container(name, mac, "");
    instance["expanded_devices"]["eth0"] = json!({"type": "nic", "network": network});
    instance
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it all connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut start = Vec::new();
        let peek = async {
            while start.len() < 8 {
                match stream.read_buf(&mut start).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        let silent = timeout(SILENT, peek).await.is_err();
        if silent || start.len() < 8 {
            let complaint = format!("a connection sent only {} bytes", start.len());
            shared.state().complaints.push(complaint);
            continue;
        }
        connections.spawn(serve(stream, start, Arc::clone(&shared)));
    }
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

async fn serve(mut stream: UnixStream, mut head: Vec<u8>, shared: Arc<Shared>) {
    shared.state().open += 1;
    let _open = Open(Arc::clone(&shared));
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(path) = head.split(' ').nth(1).map(str::to_owned) else {
        return shared.complain("a request without a path");
    };
    let answer = {
        let mut state = shared.state();
        state.requests.push(path.clone());
        if head.to_ascii_lowercase().contains("\r\norigin:") {
            state.complaints.push("a request with an Origin".to_owned());
        }
        let matches = |start: &str| path == start || (start != "/1.0" && path.starts_with(start));
        state.answers.iter().rev().find(|(start, _)| matches(start)).map(|(_, answer)| answer.clone())
    };
    match answer {
        Some(Answer::Hang) => return until_closed(stream).await,
        Some(Answer::Close) => return,
        Some(Answer::Status(status, body)) => return send(stream, status, &body).await,
        Some(Answer::Bytes(bytes)) => {
            let _ = stream.write_all(&bytes).await;
            return;
        }
        Some(Answer::After(pause)) => tokio::time::sleep(pause).await,
        None => {}
    }
    if path.starts_with("/1.0/events") {
        return stream_events(stream, &head, shared).await;
    }
    let (status, body) = shared.state().respond(&path);
    send(stream, status, &body).await;
}

impl State {
    fn respond(&self, path: &str) -> (u16, String) {
        let metadata = match path {
            "/1.0" => Some(self.server.to_string()),
            "/1.0/instances?recursion=1&all-projects=true" => Some(self.instances.clone()),
            path => self.others.get(path).map(Value::to_string),
        };
        match metadata {
            Some(metadata) => (
                200,
                format!(r#"{{"type":"sync","status":"Success","status_code":200,"metadata":{metadata}}}"#),
            ),
            None => (
                404,
                json!({"type": "error", "error_code": 404, "error": "Not found", "metadata": null})
                    .to_string(),
            ),
        }
    }
}

/// Like the real ones, it leaves it to the client to close.
async fn send(mut stream: UnixStream, status: u16, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    if stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(body.as_bytes()).await.is_ok() {
        until_closed(stream).await;
    }
}

async fn until_closed(mut stream: UnixStream) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
}

async fn stream_events(mut stream: UnixStream, head: &str, shared: Arc<Shared>) {
    let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key:");
    let Some((_, key)) = head.lines().find(is_key).and_then(|line| line.split_once(':')) else {
        return shared.complain("an event stream without a key");
    };
    let accept = derive_accept_key(key.trim().as_bytes());
    let upgrade = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if stream.write_all(upgrade.as_bytes()).await.is_err() {
        return;
    }
    let mut greets = shared.greets.subscribe();
    if greets.wait_for(|greets| *greets).await.is_err() {
        return;
    }
    let mut orders = shared.orders.subscribe();
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let mut pings = tokio::time::interval(*shared.pings.borrow());
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Ok(Order::Text(text)) => {
                    // Like the real ones: a client that does not read for 5 s is dropped.
                    match timeout(Duration::from_secs(5), socket.send(Message::text(text))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => return shared.complain("the client does not read the events"),
                    }
                }
                Ok(Order::Raw(bytes)) => {
                    let _ = socket.get_mut().write_all(&bytes).await;
                }
                Ok(Order::Cut) | Err(_) => return,
            },
            _ = pings.tick() => {
                if socket.send(Message::Ping("keepalive".into())).await.is_err() {
                    return;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Pong(_))) => shared.state().pongs += 1,
                Some(Ok(Message::Text(_) | Message::Binary(_))) => return shared.complain("data on the event stream"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn complain(&self, what: &str) {
        self.state().complaints.push(what.to_owned());
    }
}
