//! Answers of real servers are understood.

use std::fs;

use lab::stand_in::StandIn;
use macvlan_shim::model::inventory::{Guest, Mode, OptOut, Power, ServerKind};
use serde_json::Value;

use crate::{Listener, link, patience, without_systemd};

fn captured(name: &str) -> Value {
    let path = format!("{}/tests/servers/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()["metadata"].take()
}

/// The answer of a real server with these guests: `c1` frozen, `c2` opted out and on the managed network
/// `mvnet`, `c3` never started, `plain` without a NIC, and `web` of the project `shop` on the network too.
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
        let listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
        (folder, server, listener)
    };
    let server = listener.connected().await;
    assert_eq!((server.kind, server.version.as_deref()), (Some(kind), Some(version)));
    assert_eq!((server.name.as_deref(), server.message), (Some("host1"), None));
    assert_eq!(server.place, stand_in.socket().display().to_string());
    let guests = server.guests.unwrap();
    let names: Vec<_> = guests.iter().map(|guest| format!("{}/{}", guest.project, guest.name)).collect();
    assert_eq!(names, ["default/c1", "default/c2", "default/c3", "shop/web"]);
    for guest in &guests {
        assert_eq!(guest.nics.told().len(), 1);
        let nic = &guest.nics.told()[0];
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

#[tokio::test(start_paused = true)]
async fn lxd_is_understood() {
    let guests = real("lxd-5.0.2", ServerKind::Lxd, "5.0.2").await;
    assert_eq!(guests[0].nics.told()[0].mac, "00:16:3e:3a:58:a7".parse().ok());
}

#[tokio::test(start_paused = true)]
async fn incus_is_understood() {
    real("incus-6.0.4", ServerKind::Incus, "6.0.4").await;
}
