//! A server that goes, comes, or is not there yet.

use std::fs;
use std::time::Duration;

use lab::stand_in::{StandIn, container};
use macvlan_shim::model::inventory::ServerState;
use macvlan_shim::servers::Patience;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{Listener, MAC, patience, start, with_systemd, without_systemd};

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn a_missing_socket_is_found_when_it_appears() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = StandIn::absent(folder.path());
    let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    let message = listener.absent().await;
    assert_eq!(message, format!("no socket at /nowhere/unix.socket or {}", server.socket().display()));
    server.appear().unwrap();
    let found = listener.connected().await;
    assert_eq!(found.guests, Some(vec![]));
}

/// The patience of a follower that does not look again by itself within an hour.
fn patient() -> Patience {
    let hour = Duration::from_secs(3600);
    Patience { retry_first: hour, retry_last: hour, ..patience() }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_is_noticed_however_long_it_was_away() {
    let folder = tempfile::tempdir().unwrap();
    // Not even the folder of its socket is there.
    let home = folder.path().join("lxd");
    let mut server = StandIn::absent(&home);
    let mut listener = Listener::new(&server.socket(), patient(), without_systemd(folder.path()));
    listener.absent().await;
    fs::create_dir(&home).unwrap();
    for _ in 0..2 {
        sleep(Duration::from_secs(1800)).await;
        server.appear().unwrap();
        let began = Instant::now();
        listener.connected().await;
        println!("connected {:?} after the socket appeared", began.elapsed());
        server.stop().await;
        listener.until("lost", |server| server.state != ServerState::Connected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn waking_looks_at_once_and_lists_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let host = folder.path().join("host");
    let mut listener = Listener::new(&server.socket(), patient(), with_systemd(&host, &[]));
    listener.absent().await;
    with_systemd(&host, &[(8, "lxd --group lxd")]);
    listener.questions.look();
    listener.connected().await;
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.questions.look();
    listener.guests(&["c1"]).await;
}
