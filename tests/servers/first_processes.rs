//! The first processes of the guests that are asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::stand_in::{Answer, StandIn, container};
use macvlan_shim::model::inventory::{Home, Server, ServerState};
use macvlan_shim::servers::{GuestName, Patience};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{A_WHILE, Listener, MAC, MS, patience, start, until, without_systemd};

fn first_process(server: &Server, guest: &str) -> Option<u32> {
    match server.guests.iter().flatten().find(|known| known.name == guest)?.home {
        Home::Pid(pid) => Some(pid),
        _ => None,
    }
}

fn asked_for<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<GuestName> {
    let guest = |name: &str| GuestName { project: "default".into(), name: name.into() };
    names.into_iter().map(guest).collect()
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
        self.questions.look();
        until("another listing", || server.listings() > listings).await;
        // Questions that follow a listing would be asked now.
        sleep(A_WHILE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_process_of_a_guest_is_known_while_it_is_asked_for() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([started("c1", 1), started("c2", 1)]));
    server.set_init("c1", 4711);
    listener.questions.look();
    listener.guests(&["c1", "c2"]).await;
    assert_eq!(server.states("c1"), 0, "nobody has asked");

    listener.questions.ask_first_processes(asked_for(["c1", "c2"]));
    let told = listener.until("it is known", |server| first_process(server, "c1") == Some(4711)).await;
    // A first process that the server does not name is not an error.
    assert_eq!(
        (first_process(&told, "c2"), told.state, &told.message),
        (None, ServerState::Connected, &None)
    );

    listener.questions.ask_first_processes([].into());
    listener.questions.look();
    listener.until("it is no longer known", |server| first_process(server, "c1").is_none()).await;
    let states = server.states("c2");
    listener.listed_again(&server).await;
    assert_eq!((server.states("c1"), server.states("c2")), (1, states), "nobody questions any more");
}

#[tokio::test(start_paused = true)]
async fn a_first_process_stays_known_until_its_guest_stops_or_starts_again() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([started("c1", 1), started("c2", 1)]));
    server.set_init("c1", 4711);
    server.set_init("c2", 4712);
    listener.questions.ask_first_processes(asked_for(["c1", "c2"]));
    listener
        .until("it is known", |s| {
            (first_process(s, "c1"), first_process(s, "c2")) == (Some(4711), Some(4712))
        })
        .await;
    for _ in 0..3 {
        listener.listed_again(&server).await;
    }
    assert_eq!((server.states("c1"), server.states("c2")), (1, 1), "a known process is not asked for again");

    // It starts again between two listings, and its server is slow to report that. The old process is
    // forgotten at once.
    server.set_init("c1", 5001);
    server.answer("/1.0/instances/c1/state", Answer::Hang);
    server.set_instances(json!([started("c1", 30), started("c2", 1)]));
    server.happens("instance-restarted");
    listener.until("forgotten", |server| first_process(server, "c1").is_none()).await;
    server.answer_well();
    let again = listener.until("it is known again", |server| first_process(server, "c1").is_some()).await;
    assert_eq!((first_process(&again, "c1"), first_process(&again, "c2")), (Some(5001), Some(4712)));

    // It stops.
    let mut stopped = started("c1", 30);
    stopped["status_code"] = json!(102);
    server.set_instances(json!([stopped, started("c2", 1)]));
    server.happens("instance-stopped");
    listener.until("forgotten", |server| first_process(server, "c1").is_none()).await;
    let states = server.states("c1");
    listener.listed_again(&server).await;
    assert_eq!(server.states("c1"), states, "a stopped guest has none");
    assert_eq!(server.states("c2"), 1);
}

/// Root in one guest can make us ask for the first processes of many guests.
#[tokio::test(start_paused = true)]
async fn guests_that_make_their_server_wait_delay_neither_a_listing_nor_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let patience =
        Patience { first_processes: 200 * MS, follow_ups: [Duration::from_secs(600); 3], ..patience() };
    let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
    let names: Vec<String> = (0..20).map(|n| format!("c{n:02}")).collect();
    let mut instances: Vec<Value> = names.iter().map(|name| started(name, 1)).collect();
    server.set_instances(json!(instances));
    for name in &names[..19] {
        server.answer(&format!("/1.0/instances/{name}/state"), Answer::Hang);
    }
    server.set_init("c19", 4719);
    listener.questions.ask_first_processes(asked_for(names.iter().map(String::as_str)));
    listener.until("the last one is known", |server| first_process(server, "c19") == Some(4719)).await;
    until("each has had its turn", || names.iter().all(|name| server.states(name) > 0)).await;
    assert!(server.listings() <= 2, "the first and the one for the question are enough");

    // A guest is shown before its first process is known.
    instances.push(started("new", 2));
    server.set_instances(json!(instances));
    server.set_init("new", 4720);
    server.answer("/1.0/instances/new/state", Answer::Hang);
    let all: Vec<&str> = names.iter().map(String::as_str).chain(["new"]).collect();
    listener.questions.ask_first_processes(asked_for(all.iter().copied()));
    let listed = listener.guests(&all).await;
    assert_eq!((first_process(&listed, "c19"), first_process(&listed, "new")), (Some(4719), None));
    server.answer_well();
    listener.until("it is known", |server| first_process(server, "new") == Some(4720)).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_long_for_a_first_process_is_listed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let patience = Patience { first_processes: Duration::from_secs(3600), ..patience() };
    let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
    server.set_instances(json!([started("c1", 1)]));
    server.answer("/1.0/instances/c1/state", Answer::Hang);
    listener.questions.ask_first_processes(asked_for(["c1"]));
    listener.guests(&["c1"]).await;
    until("it was asked", || server.states("c1") == 1).await;
    for name in ["c2", "c3"] {
        server.set_instances(json!([started("c1", 1), started(name, 1)]));
        server.happens("instance-started");
        listener.guests(&["c1", name]).await;
    }
    assert_eq!(server.states("c1"), 1, "the question is still open");
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_is_asked_again_only_after_it_was_listed() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([started("c1", 1), started("c2", 1)]));
    server.set_init("c1", 4711);
    server.set_init("c2", 4712);
    server.answer("/1.0/instances/c1/state", Answer::Hang);
    listener.questions.ask_first_processes(asked_for(["c1", "c2"]));
    listener.until("the other is known", |server| first_process(server, "c2") == Some(4712)).await;
    server.answer("/1.0/instances", Answer::Hang);
    let listings = server.listings();
    server.cut();
    until("listing again", || server.listings() > listings).await;
    sleep(A_WHILE).await;
    assert_eq!(listener.until("lost", |s| s.state == ServerState::Connecting).await.guests.unwrap().len(), 2);
    assert_eq!(server.states("c1"), 1);
    server.answer_well();
    server.cut();
    listener.until("it is known", |server| first_process(server, "c1") == Some(4711)).await;
    assert_eq!(server.states("c2"), 1, "it has not started again");
}
