//! Following a server, against a scripted stand-in on a unix socket.
//!
//! Follower and stand-in share one runtime, whose time is paused: it goes on only when neither has anything
//! left to do. So "nothing happens within five seconds" is exact on any machine, and takes no time.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod away;
mod bounds;
mod failing;
mod first_processes;
mod guests;
mod listening;
mod once;
mod real;
mod systemd;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab::stand_in::StandIn;
use macvlan_shim::model::ServerId;
use macvlan_shim::model::inventory::{NicParent, Server, ServerKind, ServerState};
use macvlan_shim::servers::{Follower, HostPaths, Newest, Patience, Questions, Target};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const MAC: &str = "00:16:3e:00:00:01";
const MS: Duration = Duration::from_millis(1);

/// Longer than every pause of [`patience`], and shorter than a follower tolerates a silent event stream.
const A_WHILE: Duration = Duration::from_secs(5);

/// The patience of a follower whose pauses are short.
fn patience() -> Patience {
    Patience {
        follow_ups: [200 * MS, 300 * MS, 400 * MS],
        spacing: 20 * MS,
        resync: Duration::from_secs(600),
        looks: 20 * MS,
        retry_first: 20 * MS,
        retry_last: 100 * MS,
        max_list: 1 << 20,
        max_answer: 1 << 20,
        ..Patience::default()
    }
}

/// A host without systemd.
fn without_systemd(folder: &Path) -> HostPaths {
    HostPaths { systemd: folder.join("systemd"), proc: folder.join("proc") }
}

/// A host with systemd on which these processes run.
fn with_systemd(folder: &Path, processes: &[(u32, &str)]) -> HostPaths {
    let host = without_systemd(folder);
    fs::create_dir_all(&host.systemd).unwrap();
    for (pid, command) in [(1, "init")].iter().chain(processes) {
        let process = host.proc.join(pid.to_string());
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("cmdline"), command.replace(' ', "\0")).unwrap();
    }
    host
}

fn target(socket: &Path) -> Target {
    Target {
        id: ServerId("lxd".into()),
        kind: Some(ServerKind::Lxd),
        candidates: vec!["/nowhere/unix.socket".into(), socket.into()],
    }
}

/// Listens to a follower.
struct Listener {
    newest: watch::Receiver<Newest>,
    questions: Arc<Questions>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    fn new(socket: &Path, patience: Patience, host: HostPaths) -> Listener {
        let questions = Arc::new(Questions::default());
        let follower = Follower::new(target(socket), patience, host);
        let (newest, following) = follower.follow(Arc::clone(&questions));
        Listener { newest, questions, task: tokio::spawn(following) }
    }

    /// The newest value.
    fn server(&self) -> Arc<Server> {
        Arc::clone(&self.newest.borrow().server)
    }

    /// Waits for a value for which this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Server) -> bool) -> Server {
        let waiting = timeout(Duration::from_secs(20), self.newest.wait_for(|newest| holds(&newest.server)));
        let found =
            waiting.await.map(|newest| Server::clone(&newest.expect("the follower has ended").server));
        found.unwrap_or_else(|_| panic!("still not: {what}; the last value is {:#?}", self.server()))
    }

    async fn connected(&mut self) -> Server {
        self.until("connected", |server| server.state == ServerState::Connected).await
    }

    async fn failed(&mut self) -> String {
        let server = self.until("failed", |server| server.state == ServerState::Failed).await;
        server.message.unwrap()
    }

    async fn absent(&mut self) -> String {
        let server = self.until("absent", |server| server.state == ServerState::Absent).await;
        server.message.unwrap()
    }

    async fn guests(&mut self, names: &[&str]) -> Server {
        self.until(&format!("guests {names:?}"), |server| {
            let guests = server.guests.iter().flatten();
            server.state == ServerState::Connected
                && guests.map(|guest| guest.name.as_str()).eq(names.iter().copied())
        })
        .await
    }
}

/// Waits until it holds; panics after 10 s.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(2 * MS).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("still not: {what}"));
}

async fn start() -> (TempDir, StandIn, Listener) {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    (folder, server, listener)
}

fn link(name: &str, vlan: Option<u16>) -> NicParent {
    NicParent::Link { name: name.into(), vlan }
}

fn parent(server: &Server, guest: usize) -> NicParent {
    server.guests.as_ref().unwrap()[guest].nics.told()[0].parent.clone()
}
