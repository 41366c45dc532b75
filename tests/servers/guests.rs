//! How the entries of a listing become guests.

use lab::stand_in::{Answer, StandIn, container, networked};
use macvlan_shim::model::inventory::{NicParent, OptOut};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{A_WHILE, Listener, MAC, link, parent, patience, start, until, without_systemd};

#[tokio::test(start_paused = true)]
async fn an_unreadable_entry_is_shown_and_changes_neither_the_others_nor_its_guest() {
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

#[tokio::test(start_paused = true)]
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
    // After an error of the server the network stays as it was, because a network that is in use cannot be
    // deleted.
    server.answer("/1.0/networks/lan", Answer::Status(500, "{}".into()));
    server.happens("network-updated");
    let stumbled =
        listener.until("a warning", |s| s.message.as_ref().is_some_and(|m| m.contains("500"))).await;
    assert_eq!(parent(&stumbled, 0), link("eth0", Some(12)));
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn in_a_cluster_only_the_guests_of_this_member_count() {
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
    let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    let found = listener.guests(&["local"]).await;
    assert_eq!((parent(&found, 0), found.message), (link("eth7", None), None));
    let members = [("192.0.2.1", "m 1"), ("2001:db8::2", "m2")];
    let members = members.map(|(address, name)| (address.parse().unwrap(), name.to_owned()));
    assert_eq!(found.peers, members.into());
    // If the server refuses to list its members, the known ones stay. A member that joins is seen later.
    server.answer("/1.0/cluster", Answer::Status(403, json!({"type": "error", "error": "no"}).to_string()));
    let asked = server.count("/1.0/cluster");
    server.happens("cluster-member-added");
    until("it is asked again", || server.count("/1.0/cluster") > asked).await;
    server.answer_well();
    server.set("/1.0/cluster/members?recursion=1", json!([url("m4", "https://192.0.2.4:8443")]));
    server.happens("cluster-member-added");
    let found = listener.until("another member", |server| server.peers.len() != 2).await;
    assert_eq!(found.peers.len(), 1);
    // Only events of this member and migrations cause a listing.
    sleep(A_WHILE).await;
    let listings = server.listings();
    server.happens_at("instance-started", "m2");
    sleep(A_WHILE).await;
    assert_eq!(server.listings(), listings);
    server.happens_at("instance-migrated", "m2");
    sleep(A_WHILE).await;
    assert_eq!(server.listings(), listings + 4);
}
