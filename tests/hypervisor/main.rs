//! Following a server, against a scripted stand-in on a unix socket.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

mod bounds;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab::stand_in::{Answer, StandIn, container, networked};
use macvlan_shim::hypervisor::{Asks, Follower, GuestName, Limits, Surroundings, Target};
use macvlan_shim::model::ServerId;
use macvlan_shim::model::inventory::{
    Guest, Mode, NicParent, OptOut, Power, Server, ServerKind, ServerState,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const MAC: &str = "00:16:3e:00:00:01";
const MS: Duration = Duration::from_millis(1);

/// Impatient where a test waits for it, patient where a slow machine must not matter.
fn limits() -> Limits {
    Limits {
        follow_ups: [200 * MS, 300 * MS, 400 * MS],
        spacing: 20 * MS,
        resync: Duration::from_secs(600),
        looks: 20 * MS,
        retry_first: 20 * MS,
        retry_last: 100 * MS,
        body: 1 << 20,
        answer_body: 1 << 20,
        ..Limits::default()
    }
}

/// A host without systemd.
fn plain(folder: &Path) -> Surroundings {
    Surroundings { systemd: folder.join("systemd"), proc: folder.join("proc") }
}

/// A host with systemd on which these processes run.
fn systemd(folder: &Path, processes: &[(u32, &str)]) -> Surroundings {
    let around = plain(folder);
    fs::create_dir_all(&around.systemd).unwrap();
    for (pid, command) in [(1, "init")].iter().chain(processes) {
        let process = around.proc.join(pid.to_string());
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("cmdline"), command.replace(' ', "\0")).unwrap();
    }
    around
}

fn target(socket: &Path) -> Target {
    Target {
        id: ServerId("lxd".into()),
        kind: Some(ServerKind::Lxd),
        candidates: vec!["/nowhere/unix.socket".into(), socket.into()],
    }
}

/// Who listens to a follower.
struct Listener {
    updates: mpsc::Receiver<(ServerId, Server)>,
    newest: Option<Server>,
    asks: Arc<Asks>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    fn new(socket: &Path, limits: Limits, around: Surroundings) -> Listener {
        let (sender, updates) = mpsc::channel(1);
        let asks = Arc::new(Asks::default());
        let follower = Follower::new(target(socket), limits, around);
        let task = tokio::spawn(follower.follow(sender, Arc::clone(&asks)));
        Listener { updates, newest: None, asks, task }
    }

    /// Waits for a value of which this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Server) -> bool) -> Server {
        let waiting = async {
            loop {
                if let Some(server) = self.newest.as_ref().filter(|server| holds(server)) {
                    return server.clone();
                }
                let (id, server) = self.updates.recv().await.expect("the follower has ended");
                assert_eq!(id.0, "lxd");
                self.newest = Some(server);
            }
        };
        let result = timeout(Duration::from_secs(20), waiting).await;
        result.unwrap_or_else(|_| panic!("still not: {what}; the last value is {:#?}", self.newest))
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
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("still not: {what}"));
}

/// How many listings there were, once there has been none for longer than any follow-up waits.
async fn quiet(server: &StandIn) -> usize {
    let mut listings = server.listings();
    loop {
        sleep(2500 * MS).await;
        let before = std::mem::replace(&mut listings, server.listings());
        if before == listings {
            return listings;
        }
    }
}

async fn start() -> (TempDir, StandIn, Listener) {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
    (folder, server, listener)
}

fn link(name: &str, vlan: Option<u16>) -> NicParent {
    NicParent::Link { name: name.into(), vlan }
}

fn parent(server: &Server, guest: usize) -> NicParent {
    server.guests.as_ref().unwrap()[guest].nics[0].parent.clone()
}

// ---- what the real ones say ----

fn captured(name: &str) -> Value {
    let path = format!("{}/tests/hypervisor/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()["metadata"].take()
}

/// What a real server said about: `c1` frozen, `c2` opted out and on the managed network `mvnet`, `c3` never started,
/// `plain` without a NIC, and `web` of the project `shop` on the network too.
async fn real(capture: &str, kind: ServerKind, version: &str) -> Vec<Guest> {
    let (_folder, stand_in, mut listener) = {
        let folder = tempfile::tempdir().unwrap();
        let server = StandIn::start(folder.path()).unwrap();
        server.change_server(|value| *value = captured(&format!("{capture}-server")));
        server.set_instances(captured(&format!("{capture}-instances")));
        for project in ["default", "shop"] {
            let path = format!("/1.0/networks/mvnet?project={project}");
            server.set_network(&path, captured(&format!("{capture}-network")));
        }
        let listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
        (folder, server, listener)
    };
    let server = listener.connected().await;
    assert_eq!((server.kind, server.version.as_deref()), (Some(kind), Some(version)));
    assert_eq!((server.name.as_deref(), server.message), (Some("host1"), None));
    assert_eq!(server.socket, stand_in.socket());
    let guests = server.guests.unwrap();
    let names: Vec<_> = guests.iter().map(|guest| format!("{}/{}", guest.project, guest.name)).collect();
    assert_eq!(names, ["default/c1", "default/c2", "default/c3", "shop/web"]);
    for guest in &guests {
        assert_eq!(guest.nics.len(), 1);
        let nic = &guest.nics[0];
        assert_eq!((nic.name.as_str(), &nic.parent, nic.mode), ("eth0", &link("eth0", None), Mode::Bridge));
        assert!(nic.mac.is_some());
    }
    let powers: Vec<_> = guests.iter().map(|guest| guest.power).collect();
    assert_eq!(powers, [Power::Running, Power::Running, Power::Stopped, Power::Running]);
    let opts: Vec<_> = guests.iter().map(|guest| guest.opt.clone()).collect();
    assert_eq!(opts, [OptOut::In, OptOut::Out, OptOut::In, OptOut::In]);
    assert_eq!(guests[0].profiles, ["mv"]);
    guests
}

#[tokio::test]
async fn lxd_is_understood() {
    let guests = real("lxd-5.0.2", ServerKind::Lxd, "5.0.2").await;
    assert_eq!(guests[0].nics[0].mac, "00:16:3e:3a:58:a7".parse().ok());
}

#[tokio::test]
async fn incus_is_understood() {
    real("incus-6.0.4", ServerKind::Incus, "6.0.4").await;
}

// ---- listening ----

#[tokio::test]
async fn it_lists_only_after_the_first_ping() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.greet(false);
    let mut listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
    until("an event stream", || server.streams() == 1).await;
    sleep(100 * MS).await;
    assert_eq!(server.requests().len(), 1);
    server.greet(true);
    listener.connected().await;
    assert_eq!(server.listings(), 1);
}

/// The daemon begins with the same value, so that it has nothing to decide anew.
#[tokio::test]
async fn the_first_value_is_the_one_of_a_target_of_which_nothing_was_heard() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.greet(false);
    let mut listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
    assert_eq!(listener.until("anything", |_| true).await, target(&server.socket()).unread());
}

#[tokio::test]
async fn an_event_makes_it_list_again_and_once_more_later() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.happens("instance-started");
    listener.guests(&["c1"]).await;
    until("the follow-up", || server.listings() == 3).await;
    for noise in ["instance-exec", "instance-console", "image-created", "storage-volume-updated"] {
        server.happens(noise);
    }
    sleep(400 * MS).await;
    assert_eq!(server.listings(), 3);
    assert_eq!(server.count("/1.0"), server.requests().len());
    assert_eq!(server.requests().iter().filter(|path| *path == "/1.0").count(), 1);
}

#[tokio::test]
async fn a_burst_of_events_costs_few_listings() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    for _ in 0..1000 {
        server.happens("instance-updated");
    }
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.guests(&["c1"]).await;
    sleep(500 * MS).await;
    // So many that a slow machine does not matter, and far fewer than events.
    assert!((3..=50).contains(&server.listings()), "{}", server.listings());
}

#[tokio::test]
async fn an_event_that_is_not_understood_makes_it_list_again() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.event("{\"type\":\"lifecycle\",\"metadata\":{\"act");
    listener.guests(&["c1"]).await;
    assert_eq!(server.streams(), 1);
}

#[tokio::test]
async fn the_server_is_asked_again_who_it_is_when_its_configuration_changes() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    server.change_server(|value| value["environment"]["server_name"] = json!("renamed"));
    server.happens("instance-started");
    until("a listing", || server.listings() > 1).await;
    assert_eq!(listener.connected().await.name.as_deref(), Some("host1"));
    server.happens("config-updated");
    listener.until("the new name", |server| server.name.as_deref() == Some("renamed")).await;
}

#[tokio::test]
async fn events_are_read_and_pings_answered_while_it_lists() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.ping_every(20 * MS);
    server.answer("/1.0/instances", Answer::After(Duration::from_secs(6)));
    let mut listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
    until("a listing", || server.listings() == 1).await;
    let pongs = server.pongs();
    // Far more than the socket's buffer takes.
    for _ in 0..5000 {
        server.happens("instance-updated");
    }
    until("pongs behind the events", || server.pongs() > pongs + 5).await;
    assert_eq!(server.listings(), 1);
    listener.connected().await;
    server.answer_well();
    until("a listing for what happened meanwhile", || server.listings() > 1).await;
    assert_eq!((server.complaints(), server.streams()), (vec![], 1));
}

#[tokio::test]
async fn it_lists_again_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let limits = Limits { resync: 50 * MS, ..limits() };
    let mut listener = Listener::new(&server.socket(), limits, plain(folder.path()));
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.guests(&["c1"]).await;
}

#[tokio::test]
async fn no_connection_is_kept_but_the_event_stream() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.happens("instance-started");
    listener.guests(&["c1"]).await;
    until("only the event stream is open", || server.open() == 1).await;
    sleep(300 * MS).await;
    assert_eq!((server.open(), server.streams()), (1, 1));
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn the_stand_in_holds_a_silent_connection_against_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let _silent = tokio::net::UnixStream::connect(server.socket()).await.unwrap();
    until("a complaint", || server.complaints() == ["a connection sent only 0 bytes"]).await;
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let (_folder, _server, mut listener) = start().await;
    listener.connected().await;
    listener.updates.close();
    timeout(Duration::from_secs(5), &mut listener.task).await.unwrap().unwrap();
}

// ---- trouble ----

#[tokio::test]
async fn a_cut_stream_is_opened_again_and_guests_are_kept_meanwhile() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.happens("instance-started");
    listener.guests(&["c1"]).await;
    server.greet(false);
    server.cut();
    let lost = listener.until("connecting", |server| server.state == ServerState::Connecting).await;
    assert_eq!(lost.guests.unwrap().len(), 1);
    assert_eq!(lost.message.unwrap(), "the server closed the event stream");
    server.set_instances(json!([container("c2", MAC, "eth0")]));
    server.greet(true);
    listener.guests(&["c2"]).await;
}

#[tokio::test]
async fn a_server_that_goes_and_comes_again_is_followed_again() {
    let (_folder, mut server, mut listener) = start().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.happens("instance-started");
    listener.guests(&["c1"]).await;
    server.stop().await;
    let message = listener.absent().await;
    assert_eq!(message, format!("nothing listens at {}", server.socket().display()));
    fs::remove_file(server.socket()).unwrap();
    let gone =
        listener.until("no socket", |server| server.message.as_ref().unwrap().starts_with("no socket")).await;
    assert_eq!((gone.state, gone.guests.unwrap().len()), (ServerState::Absent, 1));
    server.appear().unwrap();
    listener.guests(&["c1"]).await;
}

#[tokio::test]
async fn a_missing_socket_is_found_when_it_appears() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = StandIn::absent(folder.path());
    let mut listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
    let message = listener.absent().await;
    assert_eq!(message, format!("no socket at /nowhere/unix.socket or {}", server.socket().display()));
    server.appear().unwrap();
    let found = listener.connected().await;
    assert_eq!(found.guests, Some(vec![]));
}

/// Who does not look again by itself.
fn patient() -> Limits {
    let hour = Duration::from_secs(3600);
    Limits { retry_first: hour, retry_last: hour, ..limits() }
}

#[tokio::test]
async fn a_server_that_comes_is_noticed_however_long_it_was_away() {
    let folder = tempfile::tempdir().unwrap();
    // Not even the folder of its socket is there.
    let home = folder.path().join("lxd");
    let mut server = StandIn::absent(&home);
    let mut listener = Listener::new(&server.socket(), patient(), plain(folder.path()));
    listener.absent().await;
    fs::create_dir(&home).unwrap();
    for _ in 0..2 {
        sleep(100 * MS).await;
        server.appear().unwrap();
        let began = Instant::now();
        listener.connected().await;
        println!("connected {:?} after the socket appeared", began.elapsed());
        server.stop().await;
        listener.until("lost", |server| server.state != ServerState::Connected).await;
    }
}

#[tokio::test]
async fn waking_looks_at_once_and_lists_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let host = folder.path().join("host");
    let mut listener = Listener::new(&server.socket(), patient(), systemd(&host, &[]));
    listener.absent().await;
    systemd(&host, &[(8, "lxd --group lxd")]);
    listener.asks.look();
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.asks.look();
    listener.guests(&["c1"]).await;
}

// ---- first processes ----

fn init(server: &Server, guest: &str) -> Option<u32> {
    server.guests.iter().flatten().find(|known| known.name == guest)?.init
}

fn asked_for<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<GuestName> {
    names.into_iter().map(|name| ("default".to_owned(), name.to_owned())).collect()
}

/// A container that was started at this second of the day.
fn started(name: &str, second: u32) -> Value {
    let mut instance = container(name, MAC, "eth0");
    instance["last_used_at"] = json!(format!("2026-11-21T09:12:{second:02}.333757081Z"));
    instance
}

impl Listener {
    /// Waits for another listing than those so far.
    async fn listed_again(&mut self, server: &StandIn) {
        let listings = server.listings();
        self.asks.look();
        until("another listing", || server.listings() > listings).await;
        // What a server is asked after a listing would come now.
        sleep(100 * MS).await;
    }
}

#[tokio::test]
async fn the_first_process_of_a_guest_is_told_while_it_is_asked_for() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([started("c1", 1), started("c2", 1)]));
    server.set_init("c1", 4711);
    listener.asks.look();
    listener.guests(&["c1", "c2"]).await;
    assert_eq!(server.states("c1"), 0, "nobody has asked");

    listener.asks.tell_inits(asked_for(["c1", "c2"]));
    let told = listener.until("told", |server| init(server, "c1") == Some(4711)).await;
    // That one cannot be told is no trouble.
    assert_eq!((init(&told, "c2"), told.state, &told.message), (None, ServerState::Connected, &None));

    listener.asks.tell_inits([].into());
    listener.asks.look();
    listener.until("no longer told", |server| init(server, "c1").is_none()).await;
    let states = server.states("c2");
    listener.listed_again(&server).await;
    assert_eq!((server.states("c1"), server.states("c2")), (1, states), "nobody asks any more");
}

#[tokio::test]
async fn a_first_process_stays_known_until_its_guest_stops_or_starts_anew() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([started("c1", 1), started("c2", 1)]));
    server.set_init("c1", 4711);
    server.set_init("c2", 4712);
    listener.asks.tell_inits(asked_for(["c1", "c2"]));
    listener.until("told", |s| (init(s, "c1"), init(s, "c2")) == (Some(4711), Some(4712))).await;
    for _ in 0..3 {
        listener.listed_again(&server).await;
    }
    assert_eq!((server.states("c1"), server.states("c2")), (1, 1), "what is known is not asked for again");

    // Started anew between two listings, and slow to say so: what was known is forgotten at once.
    server.set_init("c1", 5001);
    server.answer("/1.0/instances/c1/state", Answer::Hang);
    server.set_instances(json!([started("c1", 30), started("c2", 1)]));
    server.happens("instance-restarted");
    listener.until("forgotten", |server| init(server, "c1").is_none()).await;
    server.answer_well();
    let anew = listener.until("told anew", |server| init(server, "c1").is_some()).await;
    assert_eq!((init(&anew, "c1"), init(&anew, "c2")), (Some(5001), Some(4712)));

    // Stopped.
    let mut stopped = started("c1", 30);
    stopped["status_code"] = json!(102);
    server.set_instances(json!([stopped, started("c2", 1)]));
    server.happens("instance-stopped");
    listener.until("forgotten", |server| init(server, "c1").is_none()).await;
    let states = server.states("c1");
    listener.listed_again(&server).await;
    assert_eq!(server.states("c1"), states, "it has none");
    assert_eq!(server.states("c2"), 1);
}

/// Root in one guest can have the server asked for the first processes of many.
#[tokio::test]
async fn guests_that_make_their_server_wait_hold_back_neither_a_listing_nor_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let limits = Limits { inits: 200 * MS, follow_ups: [Duration::from_secs(600); 3], ..limits() };
    let mut listener = Listener::new(&server.socket(), limits, plain(folder.path()));
    let names: Vec<String> = (0..20).map(|n| format!("c{n:02}")).collect();
    let mut instances: Vec<Value> = names.iter().map(|name| started(name, 1)).collect();
    server.set_instances(json!(instances));
    for name in &names[..19] {
        server.answer(&format!("/1.0/instances/{name}/state"), Answer::Hang);
    }
    server.set_init("c19", 4719);
    listener.asks.tell_inits(asked_for(names.iter().map(String::as_str)));
    listener.until("the last one is told", |server| init(server, "c19") == Some(4719)).await;
    until("each has had its turn", || names.iter().all(|name| server.states(name) > 0)).await;
    assert!(server.listings() <= 2, "the first and the one for the question are enough");

    // That a guest is there is told before its first process is.
    instances.push(started("new", 2));
    server.set_instances(json!(instances));
    server.set_init("new", 4720);
    server.answer("/1.0/instances/new/state", Answer::Hang);
    let all: Vec<&str> = names.iter().map(String::as_str).chain(["new"]).collect();
    listener.asks.tell_inits(asked_for(all.iter().copied()));
    let listed = listener.guests(&all).await;
    assert_eq!((init(&listed, "c19"), init(&listed, "new")), (Some(4719), None));
    server.answer_well();
    listener.until("it is told", |server| init(server, "new") == Some(4720)).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_says_no_first_process_for_long_is_listed_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let limits = Limits { inits: Duration::from_secs(3600), ..limits() };
    let mut listener = Listener::new(&server.socket(), limits, plain(folder.path()));
    server.set_instances(json!([started("c1", 1)]));
    server.answer("/1.0/instances/c1/state", Answer::Hang);
    listener.asks.tell_inits(asked_for(["c1"]));
    listener.guests(&["c1"]).await;
    until("it was asked", || server.states("c1") == 1).await;
    for name in ["c2", "c3"] {
        server.set_instances(json!([started("c1", 1), started(name, 1)]));
        server.happens("instance-started");
        listener.guests(&["c1", name]).await;
    }
    assert_eq!(server.states("c1"), 1, "the question is still open");
}

#[tokio::test]
async fn what_a_lost_server_was_asked_is_asked_again_only_after_it_was_listed() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([started("c1", 1), started("c2", 1)]));
    server.set_init("c1", 4711);
    server.set_init("c2", 4712);
    server.answer("/1.0/instances/c1/state", Answer::Hang);
    listener.asks.tell_inits(asked_for(["c1", "c2"]));
    listener.until("the other is told", |server| init(server, "c2") == Some(4712)).await;
    server.answer("/1.0/instances", Answer::Hang);
    let listings = server.listings();
    server.cut();
    until("listing anew", || server.listings() > listings).await;
    sleep(100 * MS).await;
    assert_eq!(listener.until("lost", |s| s.state == ServerState::Connecting).await.guests.unwrap().len(), 2);
    assert_eq!(server.states("c1"), 1);
    server.answer_well();
    server.cut();
    listener.until("told", |server| init(server, "c1") == Some(4711)).await;
    assert_eq!(server.states("c2"), 1, "it has not started anew");
}

// ---- silence and failure ----

#[tokio::test]
async fn a_silent_event_stream_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    // Long enough for a machine that does nothing for a while.
    let limits = Limits { silence: Duration::from_secs(2), ..limits() };
    let mut listener = Listener::new(&server.socket(), limits, plain(folder.path()));
    listener.connected().await;
    let lost = listener.until("lost", |server| server.state == ServerState::Connecting).await;
    assert_eq!(lost.message.unwrap(), "the event stream was silent for 2s");
    listener.connected().await;
    server.ping_every(50 * MS);
    until("another stream", || server.streams() > 2).await;
    listener.connected().await;
    let streams = server.streams();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(server.streams(), streams);
}

#[tokio::test]
async fn a_server_that_hangs_fails_after_a_while_and_keeps_its_guests() {
    for hanging in ["/1.0/events", "/1.0", "/1.0/instances", "/"] {
        let folder = tempfile::tempdir().unwrap();
        let server = StandIn::start(folder.path()).unwrap();
        server.set_instances(json!([container("c1", MAC, "eth0")]));
        let limits = Limits { answer: 300 * MS, list: 300 * MS, ..limits() };
        let mut listener = Listener::new(&server.socket(), limits, plain(folder.path()));
        listener.guests(&["c1"]).await;
        server.answer(hanging, Answer::Hang);
        server.cut();
        let message = listener.failed().await;
        let wanted = if hanging == "/" { "/1.0/events" } else { hanging };
        assert!(message.contains(&format!("GET {wanted}")) && message.contains("within 300ms"), "{message}");
        assert_eq!(listener.newest.as_ref().unwrap().guests.as_ref().unwrap().len(), 1);
        server.answer_well();
        listener.guests(&["c1"]).await;
    }
}

#[tokio::test]
async fn whatever_a_server_answers_it_is_told_and_tried_again() {
    let text = |status, body: &str| Answer::Status(status, body.to_owned());
    let bytes = |bytes: &[u8]| Answer::Bytes(bytes.to_owned());
    let error = r#"{"type":"error","error_code":500,"error":"database is locked","metadata":null}"#;
    let forged = r#"{"type":"error","error_code":500,"error":"bad\nMAINPID=1\u202e","metadata":null}"#;
    let huge = format!("{{\"type\":\"sync\",\"metadata\":[\"{}\"]}}", "x".repeat(2 << 20));
    let untrusted = r#"{"type":"sync","metadata":{"auth":"untrusted","environment":{"server":"lxd"}}}"#;
    let stranger = r#"{"type":"sync","metadata":{"auth":"trusted","environment":{"server":"docker"}}}"#;
    for (path, answer, wanted) in [
        ("/1.0/instances", text(200, "<html>"), "the answer begins \"<html>\""),
        ("/1.0/instances", text(200, "{\"type\":\"sync\",\"metadata\":[{\"na"), "expected the JSON"),
        ("/1.0/instances", text(200, ""), "the answer begins nothing"),
        ("/1.0/instances", text(500, error), "the server says 500: database is locked"),
        ("/1.0/instances", text(500, forged), "the server says 500: bad\\nMAINPID=1\\u{202e}"),
        (
            "/1.0/instances",
            text(502, "\u{1b}[31mbad"),
            "the server says 502; the answer begins \"\\u{1b}[31mbad\"",
        ),
        ("/1.0/instances", text(200, &huge), "the answer is longer than 1 MiB"),
        ("/1.0/instances", text(200, r#"{"type":"sync","metadata":{}}"#), "expected a list of instances"),
        ("/1.0/instances", text(200, r#"{"type":"async","metadata":{}}"#), "expected"),
        ("/1.0/instances", Answer::Close, "GET /1.0/instances"),
        ("/1.0/instances", bytes(b"\0\x01\x02\x03 not HTTP\r\n\r\n"), "GET /1.0/instances"),
        (
            "/1.0/instances",
            bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ty"),
            "GET /1.0/instances",
        ),
        ("/1.0", text(200, untrusted), "does not trust us (auth is \"untrusted\")"),
        ("/1.0", text(200, stranger), "the server calls itself \"docker\""),
        ("/1.0", text(200, r#"{"type":"sync","metadata":null}"#), "expected"),
        (
            "/1.0",
            text(403, r#"{"type":"error","error":"not authorized"}"#),
            "the server says 403: not authorized",
        ),
        ("/1.0/events", text(200, "{}"), "expected a WebSocket, but the server says 200"),
        ("/1.0/events", text(403, r#"{"type":"error","error":"not authorized"}"#), "403: not authorized"),
        ("/1.0/events", Answer::Close, "GET /1.0/events"),
        ("/1.0/events", bytes(b"rubbish\r\n\r\n"), "GET /1.0/events"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = StandIn::start(folder.path()).unwrap();
        server.answer(path, answer.clone());
        let mut listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
        let message = listener.failed().await;
        assert!(message.contains(wanted), "{path} {answer:?}: {message}");
        assert!(message.len() < 700 && !message.contains(char::is_control), "{message}");
        assert_eq!(listener.newest.as_ref().unwrap().guests, None);
        server.answer_well();
        listener.connected().await;
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_listing_that_fails_is_told_and_does_not_end_the_event_stream() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    // Of a server that systemd started a lost stream is no small thing.
    let around = systemd(folder.path(), &[(4_000_000, "lxd --group lxd")]);
    let mut listener = Listener::new(&server.socket(), limits(), around);
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.guests(&["c1"]).await;
    let (streams, listings) = (server.streams(), server.listings());
    server.answer("/1.0/instances", Answer::Status(500, "database is locked".to_owned()));
    server.happens("instance-started");
    assert!(listener.failed().await.contains("the server says 500"));
    assert_eq!(listener.newest.as_ref().unwrap().guests.as_ref().unwrap().len(), 1);
    until("another try, though nothing happens", || server.listings() > listings + 2).await;
    server.set_instances(json!([container("c2", MAC, "eth0")]));
    server.answer_well();
    server.happens("instance-started");
    assert_eq!(listener.guests(&["c2"]).await.state, ServerState::Connected);
    assert_eq!(server.streams(), streams);
}

#[tokio::test]
async fn strange_frames_end_the_stream_and_not_the_follower() {
    for frame in [
        &b"\x81\x7e\x01"[..],                           // half of a header
        b"\x81\x05{\"ty",                               // half of an event
        b"\xf1\x05hello",                               // reserved bits
        b"\x81\x03\xff\xff\xff",                        // no UTF-8
        b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00abc", // 4 GiB
    ] {
        let (_folder, server, mut listener) = start().await;
        listener.connected().await;
        server.raw(frame);
        server.cut();
        server.set_instances(json!([container("c1", MAC, "eth0")]));
        listener.guests(&["c1"]).await;
        assert!(server.streams() > 1);
    }
}

/// This thread has the rights of nobody until it is dropped.
struct Nobody;

impl Nobody {
    fn new() -> Nobody {
        nix::unistd::setfsuid(65534.into());
        Nobody
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        nix::unistd::setfsuid(nix::unistd::geteuid());
    }
}

#[tokio::test]
async fn lack_of_permission_is_told_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(server.socket(), None, Some(1)).unwrap();
    } else {
        fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let nobody = Nobody::new();
    let mut listener = Listener::new(&server.socket(), limits(), plain(folder.path()));
    let message = listener.failed().await;
    assert!(message.starts_with("no permission to connect to /"), "{message}");
    assert!(message.contains("run as root or in the group "), "{message}");
    drop(nobody);
    fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o660)).unwrap();
    listener.connected().await;
}

// ---- guests ----

#[tokio::test]
async fn a_malformed_entry_is_told_and_spoils_neither_the_others_nor_its_guest() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([container("a", MAC, "eth0"), container("b", MAC, "eth0")]));
    server.happens("instance-started");
    let whole = listener.guests(&["a", "b"]).await;
    let mut broken = container("a", MAC, "eth1");
    broken["expanded_devices"] = json!("what");
    let mut stranger = broken.clone();
    stranger["name"] = json!("c");
    server.set_instances(json!([broken, stranger, container("d", MAC, "eth0")]));
    server.happens("instance-started");
    let rest = listener.guests(&["a", "d"]).await;
    assert_eq!(rest.guests.unwrap()[0], whole.guests.unwrap()[0]);
    let message = rest.message.unwrap();
    assert!(message.contains("instance \"a\" cannot be read") && message.contains("\"c\""), "{message}");
    server.set_instances(json!([container("d", MAC, "eth0")]));
    server.happens("instance-deleted");
    assert_eq!(listener.guests(&["d"]).await.message, None);
}

#[tokio::test]
async fn managed_networks_are_resolved_once_each() {
    let (_folder, server, mut listener) = start().await;
    let path = |name: &str| format!("/1.0/networks/{name}?project=default");
    server.set_network(&path("lan"), json!({"type": "macvlan", "config": {"parent": "eth0", "vlan": "12"}}));
    server.set_network(&path("br%2F0"), json!({"type": "bridge", "config": {"parent": "eth0"}}));
    server.set_network(&path("half"), json!({"type": "macvlan", "config": null}));
    server.set_instances(json!([
        networked("a", MAC, "lan"),
        networked("b", MAC, "lan"),
        networked("c", MAC, "br/0"),
        networked("d", MAC, "half"),
        networked("e", MAC, "gone"),
    ]));
    listener.connected().await;
    let before = server.count("/1.0/networks/lan");
    server.happens("network-updated");
    let found = listener.guests(&["a", "b", "d", "e"]).await;
    assert_eq!(parent(&found, 0), link("eth0", Some(12)));
    assert_eq!(parent(&found, 1), link("eth0", Some(12)));
    assert_eq!(parent(&found, 2), NicParent::Unknown("network \"half\": it names no parent".into()));
    let NicParent::Unknown(why) = parent(&found, 3) else { panic!() };
    assert!(why.contains("GET /1.0/networks/gone?project=default: the server says 404: Not found"), "{why}");
    assert_eq!(found.message, Some(why));
    until("another listing", || server.listings() > 1).await;
    until("one request for each listing", || server.count("/1.0/networks/lan") == server.listings()).await;
    assert!(before <= 1);
    // Its server may stumble; a network that is in use does not go away.
    server.answer("/1.0/networks/lan", Answer::Status(500, "{}".into()));
    server.happens("network-updated");
    let stumbled =
        listener.until("a warning", |s| s.message.as_ref().is_some_and(|m| m.contains("500"))).await;
    assert_eq!(parent(&stumbled, 0), link("eth0", Some(12)));
}

#[tokio::test]
async fn a_guest_may_opt_out() {
    let (_folder, server, mut listener) = start().await;
    let with = |name: &str, value: &str| {
        let mut instance = container(name, MAC, "eth0");
        instance["expanded_config"]["user.macvlan-shim.enabled"] = json!(value);
        instance
    };
    server.set_instances(json!([with("a", "False"), with("b", "yes"), with("c", "perhaps")]));
    server.happens("instance-updated");
    let found = listener.guests(&["a", "b", "c"]).await;
    let opts: Vec<_> = found.guests.unwrap().into_iter().map(|guest| guest.opt).collect();
    assert_eq!(opts, [OptOut::Out, OptOut::In, OptOut::Invalid("perhaps".into())]);
}

#[tokio::test]
async fn in_a_cluster_only_the_guests_of_this_member_count() {
    // Far enough apart that a slow listing does not serve for two.
    let limits = Limits { follow_ups: [600 * MS, 1200 * MS, 1800 * MS], ..limits() };
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.change_server(|value| {
        value["environment"]["server_clustered"] = json!(true);
        value["environment"]["server_name"] = json!("m 1");
    });
    let at = |mut instance: Value, member: &str| {
        instance["location"] = json!(member);
        instance
    };
    // A member that cannot be reached is listed like this.
    let lost = json!({"name": "lost", "project": "default", "location": "m3", "type": "", "status": "Error",
        "status_code": 112, "expanded_config": null, "expanded_devices": null, "profiles": null});
    let broken = json!({"name": "broken", "location": "m2", "expanded_devices": 1});
    let local = at(networked("local", MAC, "lan"), "m 1");
    server.set_instances(json!([at(container("other", MAC, "eth0"), "m2"), local, lost, broken]));
    let network = json!({"type": "macvlan", "config": {"parent": "eth7"}});
    server.set_network("/1.0/networks/lan?project=default&target=m%201", network);
    let url = |name: &str, url: &str| json!({"server_name": name, "url": url, "status": "Online"});
    let members =
        [url("m 1", "https://192.0.2.1:8443"), url("m2", "https://[2001:db8::2]:8443"), url("m3", "x")];
    server.set("/1.0/cluster/members?recursion=1", json!(members));
    let mut listener = Listener::new(&server.socket(), limits, plain(folder.path()));
    let found = listener.guests(&["local"]).await;
    assert_eq!((parent(&found, 0), found.message), (link("eth7", None), None));
    let members = [("192.0.2.1", "m 1"), ("2001:db8::2", "m2")];
    let members = members.map(|(address, name)| (address.parse().unwrap(), name.to_owned()));
    assert_eq!(found.members, members.into());
    // What is refused changes nothing of what is known; a member that joins is told.
    server.answer("/1.0/cluster", Answer::Status(403, json!({"type": "error", "error": "no"}).to_string()));
    let asked = server.count("/1.0/cluster");
    server.happens("cluster-member-added");
    until("it is asked again", || server.count("/1.0/cluster") > asked).await;
    server.answer_well();
    server.set("/1.0/cluster/members?recursion=1", json!([url("m4", "https://192.0.2.4:8443")]));
    server.happens("cluster-member-added");
    let found = listener.until("another member", |server| server.members.len() != 2).await;
    assert_eq!(found.members.len(), 1);
    // Only events of this member, and those of guests that move, cost a listing.
    let listings = quiet(&server).await;
    server.happens_at("instance-started", "m2");
    assert_eq!(quiet(&server).await, listings);
    server.happens_at("instance-migrated", "m2");
    until("listings for a while", || server.listings() == listings + 4).await;
}

// ---- systemd ----

#[tokio::test]
async fn a_stopped_server_of_systemd_is_waited_for_and_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let around = systemd(folder.path(), &[(7, "[lxc monitor] /var/lib/lxd/containers c1")]);
    let mut listener = Listener::new(&server.socket(), limits(), around.clone());
    assert_eq!(listener.absent().await, "lxd is stopped; waiting for it, not starting it");
    let once = Follower::new(target(&server.socket()), limits(), around).read().await;
    assert_eq!(once.state, ServerState::Absent);
    sleep(300 * MS).await;
    assert_eq!((server.requests().len(), server.open()), (0, 0));
    systemd(folder.path(), &[(8, "/usr/bin/lxd --group lxd")]);
    listener.connected().await;
}

#[tokio::test]
async fn waking_starts_no_stopped_server_of_systemd() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let mut listener = Listener::new(&server.socket(), limits(), systemd(folder.path(), &[]));
    listener.absent().await;
    for _ in 0..5 {
        listener.asks.look();
        sleep(50 * MS).await;
    }
    assert_eq!((server.requests().len(), server.complaints().len(), server.open()), (0, 0, 0));
}

#[tokio::test]
async fn a_server_of_systemd_that_hangs_up_is_given_time_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = StandIn::start(folder.path()).unwrap();
    let around = systemd(folder.path(), &[(4_000_000, "lxd --group lxd")]);
    let mut listener = Listener::new(&server.socket(), limits(), around.clone());
    listener.connected().await;
    let requests = server.requests().len();
    server.cut();
    sleep(150 * MS).await;
    // A guest that starts just then is no reason to connect: it may be another server's.
    listener.asks.look();
    sleep(150 * MS).await;
    assert_eq!(server.requests().len(), requests);
    fs::remove_dir_all(around.proc.join("4000000")).unwrap();
    listener.absent().await;
    assert_eq!(server.requests().len(), requests);
    // It was only restarted.
    server.stop().await;
    server.appear().unwrap();
    systemd(folder.path(), &[(4_000_001, "lxd --group lxd")]);
    listener.connected().await;
}

// ---- once ----

#[tokio::test]
async fn a_server_is_read_once_without_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = StandIn::start(folder.path()).unwrap();
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    let follower = Follower::new(target(&server.socket()), limits(), plain(folder.path()));
    let found = follower.read().await;
    assert_eq!((found.state, found.guests.unwrap().len()), (ServerState::Connected, 1));
    assert_eq!(server.requests(), ["/1.0", "/1.0/instances?recursion=1&all-projects=true"]);
    server.stop().await;
    let gone = follower.read().await;
    assert_eq!((gone.state, gone.guests), (ServerState::Absent, None));
}
