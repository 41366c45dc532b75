//! Reading a server once, as `plan` does.

use lab::stand_in::{StandIn, container};
use macvlan_shim::model::inventory::ServerState;
use macvlan_shim::servers::Follower;
use serde_json::json;

use crate::{MAC, patience, target, without_systemd};

#[tokio::test]
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
