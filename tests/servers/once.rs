//! Reading a server once, as `plan` does.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lab::stand_in::{Answer, StandIn, container};
use macvlan_shim::model::inventory::ServerState;
use macvlan_shim::servers::Follower;
use serde_json::json;

use crate::{MAC, patience, target, until, without_systemd};

#[tokio::test(start_paused = true)]
async fn a_server_is_read_once_without_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = StandIn::start(folder.path()).unwrap();
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    let follower = Follower::new(target(&server.socket()), patience(), without_systemd(folder.path()));
    let found = follower.read().await;
    assert_eq!((found.state, found.guests.unwrap().len()), (ServerState::Connected, 1));
    assert_eq!(server.requests(), ["/1.0", "/1.0/instances?recursion=1&all-projects=true"]);
    server.stop().await;
    let gone = follower.read().await;
    assert_eq!((gone.state, gone.guests), (ServerState::Absent, None));
}

/// Both are asked before either has answered.
#[tokio::test]
async fn plan_reads_all_servers_at_the_same_time_and_names_those_that_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let servers = ["one", "two"].map(|name| {
        let home = folder.path().join(name);
        fs::create_dir(&home).unwrap();
        let server = StandIn::start(&home).unwrap();
        server.answer("/1.0", Answer::After(Duration::from_secs(6)));
        server
    });
    let sockets = servers.each_ref().map(|server| server.socket().display().to_string());
    let config = folder.path().join("config.toml");
    fs::write(&config, sockets.iter().map(|at| format!("[[server]]\nsocket = {at:?}\n")).collect::<String>())
        .unwrap();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_macvlan-shim"));
    plan.arg("--config").arg(&config).arg("plan");
    let plan = tokio::task::spawn_blocking(move || plan.output().unwrap());
    until("both are asked", || servers.iter().all(|server| server.requests() == ["/1.0"])).await;
    servers.iter().for_each(StandIn::answer_well);
    let said = String::from_utf8(plan.await.unwrap().stderr).unwrap();
    assert!(said.contains(&format!("waiting for {}\n", sockets.join(", "))), "{said}");
    assert!(servers.iter().all(|server| server.listings() == 1), "{said}");
}
