//! The marks by which a shim is known, and changes that others make to it.

use std::process::Command;

use macvlan_shim::model::names::LINK_GROUP;
use macvlan_shim::model::snapshot::Setting;
use macvlan_shim::model::{Code, LinkRef, Op};

use crate::host::Host;
use crate::look::{assert_truth, ip};
use crate::shim::{GUEST_MAC, SHIM_MAC};

#[test]
fn the_marks_of_a_shim_are_those_that_ip_shows_and_each_is_enough() {
    let (host, mut kernel, _) = Host::with_shim();
    let output =
        Command::new("ip").args(["-o", "link", "show", "group", &LINK_GROUP.to_string()]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        shown.contains("mvs-eth0@eth0") && shown.contains(&format!("alias macvlan-shim {SHIM_MAC}")),
        "{shown}"
    );
    for (blow, shims) in [("group 0", 1), ("alias mine", 0)] {
        host.ip(&format!("link set mvs-eth0 {blow}"));
        kernel.drain();
        assert_eq!(kernel.snapshot().shims().count(), shims, "{blow}");
    }
}

#[test]
fn a_shim_gets_its_mac_back_and_keeps_its_neighbours() {
    let (host, mut kernel, shim) = Host::with_shim();
    host.ip("link set mvs-eth0 address 02:00:00:00:00:78");
    // The kernel has taken them with the MAC.
    kernel.drain();
    assert!(kernel.snapshot().neighbours.values().all(|entry| !entry.ours));
    let address = ip("192.0.2.100");
    kernel.apply(&Op::SetNeighbour { shim: shim.clone(), address, mac: GUEST_MAC }).unwrap();
    kernel.apply(&Op::SetMac { shim, mac: SHIM_MAC }).unwrap();
    kernel.drain();
    let snapshot = kernel.snapshot();
    let link = snapshot.link_named("mvs-eth0").unwrap();
    assert_eq!((link.mac, link.made_with, link.up), (Some(SHIM_MAC), Some(SHIM_MAC), true));
    let entries = snapshot.neighbours.iter().filter(|((_, at), entry)| *at == link.index && entry.ours);
    assert_eq!(entries.map(|((to, _), _)| *to).collect::<Vec<_>>(), [address]);
    assert_eq!(snapshot.proxies.len(), 1);
    assert_truth(&mut kernel);
}

#[test]
fn a_shim_is_renamed_and_keeps_everything_on_it() {
    let (host, mut kernel, _) = Host::with_shim();
    kernel.drain();
    let before = kernel.snapshot().clone();
    let link = before.link_named("mvs-eth0").unwrap().index;
    let rename =
        |link, name: &str| Op::Rename { link: LinkRef::standing("mvs-eth0", link), name: name.into() };
    for _ in 0..2 {
        kernel.apply(&rename(link, "mvs-lan0")).unwrap();
    }
    // A plan uses the shim's future name, and knows it by its index.
    let shim = LinkRef { name: "mvs-any".into(), index: Some(link) };
    kernel.apply(&Op::Set { shim, setting: Setting::ArpFilter, value: 0 }).unwrap();
    kernel.drain();
    let after = kernel.snapshot();
    assert_eq!(after.links[&link].name, "mvs-lan0");
    assert_eq!(after.settings[&link][&Setting::ArpFilter], 0);
    // Before Linux 6.2 it has to go down for that.
    if after.links[&link].up {
        assert_eq!((&after.routes, &after.neighbours), (&before.routes, &before.neighbours));
    }
    assert_truth(&mut kernel);
    assert_eq!(kernel.apply(&rename(host.parent(&kernel), "mvs-eth1")).unwrap_err().code, Code::Exists);
}
