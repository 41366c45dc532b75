//! Servers that systemd would start if we connected.

use std::fs;

use lab::stand_in::StandIn;
use macvlan_shim::model::inventory::ServerState;
use macvlan_shim::servers::Follower;
use tokio::time::sleep;

use crate::{A_WHILE, Listener, MS, patience, target, with_systemd};

#[tokio::test(start_paused = true)]
async fn a_stopped_server_of_systemd_is_waited_for_and_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let host = with_systemd(folder.path(), &[(7, "[lxc monitor] /var/lib/lxd/containers c1")]);
    let mut listener = Listener::new(&server.socket(), patience(), host.clone());
    assert_eq!(listener.absent().await, "lxd is stopped; waiting for it, not starting it");
    let once = Follower::new(target(&server.socket()), patience(), host).read().await;
    assert_eq!(once.state, ServerState::Absent);
    sleep(A_WHILE).await;
    assert_eq!((server.requests().len(), server.open()), (0, 0));
    with_systemd(folder.path(), &[(8, "/usr/bin/lxd --group lxd")]);
    listener.connected().await;
}

#[tokio::test(start_paused = true)]
async fn waking_starts_no_stopped_server_of_systemd() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let mut listener = Listener::new(&server.socket(), patience(), with_systemd(folder.path(), &[]));
    listener.absent().await;
    for _ in 0..5 {
        listener.questions.look();
        sleep(A_WHILE).await;
    }
    assert_eq!((server.requests().len(), server.complaints().len(), server.open()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_systemd_that_hangs_up_is_given_time_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = StandIn::start(folder.path()).unwrap();
    let host = with_systemd(folder.path(), &[(4_000_000, "lxd --group lxd")]);
    let mut listener = Listener::new(&server.socket(), patience(), host.clone());
    listener.connected().await;
    let requests = server.requests().len();
    server.cut();
    sleep(4000 * MS).await;
    // A guest that starts now is no reason to connect, because it may belong to another server.
    listener.questions.look();
    sleep(4000 * MS).await;
    assert_eq!(server.requests().len(), requests);
    fs::remove_dir_all(host.proc.join("4000000")).unwrap();
    listener.absent().await;
    assert_eq!(server.requests().len(), requests);
    // The server was only restarted.
    server.stop().await;
    server.appear().unwrap();
    with_systemd(folder.path(), &[(4_000_001, "lxd --group lxd")]);
    listener.connected().await;
}
