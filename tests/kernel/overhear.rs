//! Links in mode source: the frames that they get, and how they are recognised.

use std::process::Command;

use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::Mac;
use macvlan_shim::model::inventory::Mode;
use macvlan_shim::model::snapshot::{Child, Sources};

use crate::host::Host;
use crate::look::{assert_truth, eventually};
use crate::shim::SHIM_MAC;

fn listener(kernel: &Kernel) -> Option<&Child> {
    kernel.snapshot().children.values().find(|child| child.name == "s")
}

#[test]
fn a_list_of_senders_is_seen_as_it_changes() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("link set eth0 up");
    let mut kernel = Kernel::open().unwrap();
    for (kind, tap) in [("macvlan", false), ("macvtap", true)] {
        guest.ip(&format!("link add s link eth0 type {kind} mode source"));
        let none = Sources::default();
        eventually(&mut kernel, |snapshot| {
            snapshot.children.values().any(|child| child.mode == Mode::Source)
        });
        let seen = listener(&kernel).unwrap();
        assert_eq!((seen.tap, seen.up, &seen.sources), (tap, false, &none));
        guest.ip("link set s up");
        guest.ip(&format!("link set s type {kind} macaddr add {SHIM_MAC}"));
        let one = |only| Sources { macs: [SHIM_MAC].into(), count: 1, only };
        eventually(&mut kernel, |snapshot| {
            snapshot.children.values().any(|child| child.sources == one(false))
        });
        guest.ip("link del s");
        // With a list from the start, and down. Such a link takes frames away nevertheless.
        guest.ip(&format!("link add s link eth0 type {kind} mode source nodst macaddr set {SHIM_MAC}"));
        eventually(&mut kernel, |snapshot| {
            snapshot.children.values().any(|child| child.sources == one(true))
        });
        assert_truth(&mut kernel);
        guest.ip("link del s");
        eventually(&mut kernel, |snapshot| snapshot.children.len() == 1);
    }
}

#[test]
fn a_long_list_of_senders_is_counted_and_not_kept() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("link set eth0 up");
    guest.ip("link add s link eth0 type macvlan mode source");
    guest.ip("link set s up");
    let mac = |n: u16| {
        let [high, low] = n.to_be_bytes();
        Mac([2, 0, 0, 0, high, low])
    };
    let lines: String =
        (0..1000).map(|n| format!("link set s type macvlan macaddr add {}\n", mac(n))).collect();
    assert!(guest.ip_batch(&lines).wait().unwrap().success());
    let mut kernel = Kernel::open().unwrap();
    let first = (0..8).map(mac).collect();
    let expected = Sources { macs: first, count: 1000, only: false };
    eventually(&mut kernel, |snapshot| snapshot.children.values().any(|child| child.sources == expected));
    assert_truth(&mut kernel);
}

/// The reason for it all: frames for others come to it, and with `nodst` to nobody else.
#[test]
fn it_gets_the_hosts_frames_to_another_guest() {
    let host = Host::new();
    let honest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    honest.ip("link set eth0 up");
    honest.ip("addr add 192.0.2.100/24 dev eth0");
    let hostile = host.guest_with_child("eth0", "00:16:3e:00:00:02");
    hostile.ip("link set eth0 up");
    let mut kernel = Kernel::open().unwrap();
    let shim = host.shim_ref();
    host.make(&mut kernel, &shim);
    let reaches = || {
        let ping =
            Command::new("ping").args("-n -q -c 20 -i 0.01 -W 1 192.0.2.100".split(' ')).output().unwrap();
        ping.status.success()
    };
    let heard = || {
        hostile.within(|| {
            let read = |counter| {
                let shown = Command::new("ip").args("-s -j link show s".split(' ')).output().unwrap();
                let text = String::from_utf8(shown.stdout).unwrap();
                let rest = text.split_once("\"rx\":").unwrap().1;
                let number = rest.split_once(&format!("\"{counter}\":")).unwrap().1;
                number.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap()
            };
            read("packets")
        })
    };
    for mode in ["bridge", "private", "vepa"] {
        hostile.ip(&format!("link add s link eth0 type macvlan mode {mode}"));
        hostile.ip("link set s promisc on allmulticast on multicast off");
        hostile.ip("link set s up");
        let before = heard();
        assert!(reaches());
        // It may hear some broadcasts of guests.
        assert!(heard() < before + 15, "in mode {mode}, promiscuous, it overhears");
        hostile.ip("link del s");
    }
    hostile.ip(&format!("link add s link eth0 type macvlan mode source macaddr set {SHIM_MAC}"));
    hostile.ip("link set s up");
    let before = heard();
    assert!(reaches());
    assert!(heard() >= before + 20, "it hears nothing: then there is nothing to report");
    hostile.ip("link del s");
    hostile.ip(&format!("link add s link eth0 type macvlan mode source nodst macaddr set {SHIM_MAC}"));
    assert!(!reaches(), "it takes nothing away while it is down");
}
