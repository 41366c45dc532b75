//! Objects that root in a guest makes so large that the kernel's own lists end early, or are wrong. A guest's
//! NIC comes into the host's namespace when the guest stops.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::inventory::Mode;
use macvlan_shim::model::snapshot::Netns;

use crate::host::{Guest, Host};
use crate::look::{assert_truth, eventually, net};

/// As many alternative names as the kernel takes, each as long as possible: 65 KiB in each message about the
/// link.
fn name_at_length(guest: &Guest, link: &str) {
    let mut lines = String::new();
    for number in 0..496 {
        writeln!(lines, "link property add dev {link} altname n{number:03}{}", "x".repeat(120)).unwrap();
    }
    assert!(guest.ip_batch(&lines).wait().unwrap().success());
}

/// A macvlan link in mode source on the guest's NIC, with more MACs than the length of an attribute can
/// express.
fn overhear_at_length(guest: &Guest) {
    guest.ip("link add src link eth0 type macvlan mode source");
    let mut lines = String::new();
    for number in 0..6000 {
        let (high, low) = (number >> 8, number & 255);
        writeln!(lines, "link set src type macvlan macaddr add 02:00:25:08:{high:02x}:{low:02x}").unwrap();
    }
    assert!(guest.ip_batch(&lines).wait().unwrap().success());
}

#[test]
fn a_nic_that_comes_home_with_many_names_hides_no_link_of_the_host() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    name_at_length(&guest, "eth0");
    host.ip("link add later link eth0 type macvlan mode bridge");
    host.ip("link add last type veth peer name end");
    let mut kernel = Kernel::open().unwrap();
    let later = kernel.snapshot().link_named("later").unwrap().index;
    let home = nix::unistd::gettid();
    for _ in 0..10 {
        // Read while it comes in, and while it is there.
        let mut moving = guest.spawn(&format!("ip link set eth0 netns {home} name mac0"));
        while moving.try_wait().unwrap().is_none() {
            kernel.resync_host();
            kernel.drain();
            assert!(kernel.snapshot().links.contains_key(&later), "a link is lost from view");
        }
        kernel.drain();
        assert!(kernel.snapshot().links.contains_key(&later), "a link is lost from view");
        assert_eq!(kernel.problems(), [""; 0]);
        eventually(&mut kernel, |snapshot| snapshot.link_named("mac0").is_some());
        // A kernel layer that starts now sees all of them.
        let fresh = Kernel::open().unwrap();
        for link in ["mac0", "later", "last"] {
            assert!(fresh.snapshot().link_named(link).is_some(), "{link} is not seen");
        }
        host.ip(&format!("link set mac0 netns {} name eth0", guest.pid()));
        assert_truth(&mut kernel);
    }
    assert_eq!(kernel.shortfalls().collect::<Vec<_>>(), []);
}

#[test]
fn a_nic_with_many_names_hides_nothing_in_its_guest() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("link add vip link eth0 type macvlan mode bridge");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let mut known = Kernel::open().unwrap();
    name_at_length(&guest, "eth0");
    guest.ip("addr add 192.0.2.101/24 dev vip");
    let mut fresh = Kernel::open().unwrap();
    for kernel in [&mut known, &mut fresh] {
        eventually(kernel, |snapshot| {
            let addresses = snapshot.children.values().flat_map(|child| child.addresses.keys());
            addresses.copied().collect::<BTreeSet<_>>()
                == [net("192.0.2.100/24"), net("192.0.2.101/24")].into()
        });
        kernel.resync();
        kernel.drain();
        assert_eq!(kernel.snapshot().children.len(), 2);
        assert_eq!(kernel.problems(), [""; 0]);
    }
    // Its events are as large as the link. While it is down there would be none.
    guest.ip("link set eth0 up");
    guest.ip("link set eth0 address 00:16:3e:00:00:02");
    eventually(&mut known, |snapshot| {
        snapshot.children.values().any(|child| child.mac.to_string() == "00:16:3e:00:00:02")
    });
    guest.ip("link del vip");
    eventually(&mut known, |snapshot| snapshot.children.len() == 1);
    assert_truth(&mut known);
}

/// The first link of a namespace is read into the smallest buffer that the kernel has.
#[test]
fn names_of_the_first_link_hide_nothing_from_a_new_process() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    for number in 0..100 {
        guest.ip(&format!("link property add dev lo altname n{number:03}{}", "x".repeat(120)));
    }
    assert_eq!(Kernel::open().unwrap().snapshot().children.len(), 1);
}

#[test]
fn a_list_that_is_too_long_for_its_length_field_is_not_read_and_harms_nothing_else() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let mut kernel = Kernel::open().unwrap();
    overhear_at_length(&guest);
    guest.ip("link add vip link eth0 type macvlan mode bridge");
    guest.ip("addr add 192.0.2.101/24 dev vip");
    eventually(&mut kernel, |snapshot| {
        snapshot
            .children
            .values()
            .filter(|child| child.mode == Mode::Bridge && !child.addresses.is_empty())
            .count()
            == 2
    });
    let told = |kernel: &Kernel| kernel.shortfalls().collect::<Vec<_>>();
    kernel.resync();
    let start = Instant::now();
    while told(&kernel).is_empty() {
        assert!(start.elapsed().as_secs() < 10, "nothing is reported");
        kernel.drain();
        std::thread::sleep(Duration::from_millis(10));
    }
    let [(Netns::Id(_), sentence)] = &told(&kernel)[..] else { panic!("{:?}", told(&kernel)) };
    assert!(sentence.contains("cannot be read: a message of the kernel"), "{sentence}");
    assert_eq!(kernel.problems(), [""; 0]);
    let children = &kernel.snapshot().children;
    assert!(children.values().all(|child| child.parent == host.parent(&kernel)), "{children:?}");

    // It comes into the host's namespace while a kernel layer starts there.
    guest.ip(&format!("link set src netns {}", nix::unistd::gettid()));
    let fresh = Kernel::open().unwrap();
    assert!(fresh.snapshot().link_named("lan").is_some() && fresh.snapshot().link_named("src").is_none());
    let [(Netns::Host, sentence)] = &told(&fresh)[..] else { panic!("{:?}", told(&fresh)) };
    assert!(sentence.contains("cannot be read"), "{sentence}");
    host.ip("link del src");
    kernel.resync();
    eventually(&mut kernel, |snapshot| snapshot.children.len() == 2);
    assert_eq!(told(&kernel), []);
}

#[test]
fn a_guest_with_more_addresses_than_are_read_is_reported() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    let mut lines = String::new();
    for number in 0..1030 {
        writeln!(lines, "addr add 10.1.{}.{}/16 dev eth0", number >> 8, number & 255).unwrap();
    }
    assert!(guest.ip_batch(&lines).wait().unwrap().success());
    let mut kernel = Kernel::open().unwrap();
    let told: Vec<_> = kernel.shortfalls().map(|(_, sentence)| sentence).collect();
    assert_eq!(told, ["it has over 1024 addresses, of which only the first are looked at"]);
    guest.ip("addr flush dev eth0");
    kernel.resync();
    eventually(&mut kernel, |snapshot| snapshot.children.values().all(|child| child.addresses.is_empty()));
    let start = Instant::now();
    while kernel.shortfalls().next().is_some() {
        assert!(start.elapsed().as_secs() < 10, "it is still reported");
        kernel.resync();
        kernel.drain();
        std::thread::sleep(Duration::from_millis(50));
    }
}
