//! When a server is listed, and for what reason.

use std::sync::Arc;
use std::time::Duration;

use lab::stand_in::{Answer, StandIn, container};
use macvlan_shim::model::tally::ServerTally;
use macvlan_shim::servers::{Follower, Patience};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{A_WHILE, Listener, MAC, MS, patience, start, target, until, without_systemd};

#[tokio::test(start_paused = true)]
async fn it_lists_only_after_the_first_ping() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.greet(false);
    let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    until("an event stream", || server.streams() == 1).await;
    sleep(A_WHILE).await;
    assert_eq!(server.requests().len(), 1);
    server.greet(true);
    listener.connected().await;
    assert_eq!(server.listings(), 1);
}

/// The daemon begins with this value.
#[tokio::test(start_paused = true)]
async fn the_first_value_is_that_of_an_unknown_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.greet(false);
    let listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    assert_eq!(*listener.server(), target(&server.socket()).unread());
}

#[tokio::test(start_paused = true)]
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
    sleep(A_WHILE).await;
    assert_eq!(server.listings(), 3);
    assert_eq!(server.count("/1.0"), server.requests().len());
    assert_eq!(server.requests().iter().filter(|path| *path == "/1.0").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_events_costs_few_listings() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    for _ in 0..1000 {
        server.happens("instance-updated");
    }
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.guests(&["c1"]).await;
    sleep(A_WHILE).await;
    // The first, one for all events, and the follow-up.
    assert_eq!(server.listings(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_understood_makes_it_list_again() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.event("{\"type\":\"lifecycle\",\"metadata\":{\"act");
    listener.guests(&["c1"]).await;
    assert_eq!(server.streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_asked_again_for_its_description_when_its_configuration_changes() {
    let (_folder, server, mut listener) = start().await;
    listener.connected().await;
    server.change_server(|value| value["environment"]["server_name"] = json!("renamed"));
    server.happens("instance-started");
    until("a listing", || server.listings() > 1).await;
    assert_eq!(listener.connected().await.name.as_deref(), Some("host1"));
    server.happens("config-updated");
    listener.until("the new name", |server| server.name.as_deref() == Some("renamed")).await;
}

#[tokio::test(start_paused = true)]
async fn events_are_read_and_pings_answered_while_it_lists() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    server.ping_every(20 * MS);
    server.answer("/1.0/instances", Answer::After(Duration::from_secs(6)));
    let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    until("a listing", || server.listings() == 1).await;
    let pongs = server.pongs();
    // Far more than the buffer of the socket holds.
    for _ in 0..5000 {
        server.happens("instance-updated");
    }
    until("pongs behind the events", || server.pongs() > pongs + 5).await;
    assert_eq!(server.listings(), 1);
    listener.connected().await;
    server.answer_well();
    until("a listing for the events meanwhile", || server.listings() > 1).await;
    assert_eq!((server.complaints(), server.streams()), (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn it_lists_again_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let patience = Patience { resync: 50 * MS, ..patience() };
    let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.guests(&["c1"]).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_event_stream_is_kept_open() {
    let (_folder, server, mut listener) = start().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    server.happens("instance-started");
    listener.guests(&["c1"]).await;
    until("only the event stream is open", || server.open() == 1).await;
    sleep(A_WHILE).await;
    assert_eq!((server.open(), server.streams()), (1, 1));
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_stand_in_holds_a_silent_connection_against_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let _silent = tokio::net::UnixStream::connect(server.socket()).await.unwrap();
    until("a complaint", || server.complaints() == ["a connection sent only 0 bytes"]).await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let follower = Follower::new(target(&server.socket()), patience(), without_systemd(folder.path()));
    let (newest, following) = follower.follow(Arc::default());
    let following = tokio::spawn(following);
    until("an event stream", || server.streams() == 1).await;
    drop(newest);
    timeout(Duration::from_secs(5), following).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_and_losses_are_counted() {
    let (_folder, server, mut listener) = start().await;
    assert_eq!(listener.questions.tally(), ServerTally::default());
    listener.connected().await;
    let first = listener.questions.tally();
    assert_eq!((first.events, first.disconnects), (0, 0));
    for event in ["instance-started", "instance-exec", "image-created"] {
        server.happens(event);
    }
    until("the events were counted", || listener.questions.tally().events == 3).await;
    server.cut();
    until("another event stream", || server.streams() == 2).await;
    assert_eq!((listener.questions.tally().events, listener.questions.tally().disconnects), (3, 1));
}
