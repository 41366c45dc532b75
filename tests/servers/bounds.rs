//! Limits to the answers of a server, and to their size: names with control characters, and more entries than
//! anybody needs.

use lab::stand_in::{Answer, StandIn, container, networked};
use macvlan_shim::model::inventory::{NicParent, OptOut};
use macvlan_shim::servers::Patience;
use serde_json::{Value, json};

use crate::{Listener, MAC, patience, without_systemd};

fn server(folder: &tempfile::TempDir, instances: Value) -> StandIn {
    let server = StandIn::start(folder.path()).unwrap();
    server.set_instances(instances);
    server
}

#[tokio::test(start_paused = true)]
async fn names_and_values_are_made_printable_and_stay_different() {
    let folder = tempfile::tempdir().unwrap();
    let mut strange = container("a\u{1b}[2J", MAC, "eth\n0");
    strange["project"] = json!("b\u{202e}");
    strange["profiles"] = json!(["c\u{200b}"]);
    strange["expanded_config"] =
        json!({"user.macvlan-shim.enabled": format!("\nMAINPID=1{}", "x".repeat(10_000))});
    let mut other = strange.clone();
    other["name"] = json!("a\\u{1b}[2J");
    let server = server(&folder, json!([strange, other]));
    let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    let found = listener.connected().await;
    let guests = found.guests.as_ref().unwrap();
    assert_eq!(guests.len(), 2);
    assert_eq!(guests[0].name, "a\\\\u{1b}[2J");
    assert_eq!((&*guests[1].name, &*guests[1].project), ("a\\u{1b}[2J", "b\\u{202e}"));
    assert_eq!(guests[1].profiles, ["c\\u{200b}"]);
    assert_eq!(guests[1].nics.told()[0].parent, NicParent::Link { name: "eth\\n0".into(), vlan: None });
    let OptOut::Invalid(value) = &guests[1].opt else { panic!("{:?}", guests[1].opt) };
    assert!(value.starts_with("\\nMAINPID=1x") && value.ends_with("x…") && value.len() < 600, "{value}");
    assert!(!format!("{found:?}").contains(['\n', '\u{1b}', '\u{202e}', '\u{200b}']), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn if_there_are_too_many_guests_the_first_by_name_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let name = |number: usize| format!("c{number:05}");
    let mut instances: Vec<Value> =
        (0..50).rev().map(|number| container(&name(number), MAC, "eth0")).collect();
    // Guests without a macvlan NIC do not count.
    instances.extend((0..500).map(|number| {
        json!({"name": format!("b{number}"), "expanded_devices": {"n": {"type": "nic", "nictype": "bridged"}}})
    }));
    let server = server(&folder, json!(instances));
    let patience = Patience { max_guests: 20, ..patience() };
    let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
    let found = listener.connected().await;
    let names: Vec<_> = found.guests.unwrap().into_iter().map(|guest| guest.name).collect();
    assert_eq!(names, (0..20).map(name).collect::<Vec<_>>());
    assert_eq!(
        found.message.unwrap(),
        "it has 30 guests more than the maximum; the first 20 by project and name are served, up to c00019 in \
         project default"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_guests_are_not_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let instances: Vec<Value> =
        (0..10_000).map(|number| container(&format!("c{number}"), MAC, "eth0")).collect();
    let server = server(&folder, json!(instances));
    let mut listener = Listener::new(&server.socket(), Patience::default(), without_systemd(folder.path()));
    let found = listener.connected().await;
    assert_eq!((found.guests.unwrap().len(), found.message), (10_000, None));
}

/// A cluster lists the guests of all its members, and a guest may have megabytes of cloud-init.
#[tokio::test(start_paused = true)]
async fn a_list_may_be_long_because_little_of_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let with_a_long_text = |number: usize| {
        let mut guest = container(&format!("c{number}"), MAC, "eth0");
        guest["expanded_config"]["user.user-data"] = json!("x".repeat(2 << 20));
        guest
    };
    let server = server(&folder, json!((0..40).map(with_a_long_text).collect::<Vec<_>>()));
    let mut listener = Listener::new(&server.socket(), Patience::default(), without_systemd(folder.path()));
    let found = listener.connected().await;
    assert_eq!((found.guests.unwrap().len(), found.message), (40, None));
}

#[tokio::test(start_paused = true)]
async fn no_more_networks_are_asked_for_than_a_server_may_need() {
    let folder = tempfile::tempdir().unwrap();
    let instances: Vec<Value> =
        (0..9).map(|number| networked(&format!("c{number}"), MAC, &format!("n{number}"))).collect();
    let server = server(&folder, json!(instances));
    for number in 0..9 {
        server.answer(
            &format!("/1.0/networks/n{number}"),
            Answer::Status(
                200,
                json!({"type": "sync", "metadata": {"type": "macvlan", "config": {"parent": "eth0"}}})
                    .to_string(),
            ),
        );
    }
    let patience = Patience { max_networks: 4, ..patience() };
    let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
    let found = listener.connected().await;
    assert_eq!(found.guests.unwrap().len(), 4);
    let message = found.message.unwrap();
    assert!(message.contains("use 9 managed networks, of which the first 4"), "{message}");
}
