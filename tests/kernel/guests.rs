//! Children in the namespaces of guests, followed without entering them.

use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::Mac;
use macvlan_shim::model::inventory::{Home, Mode};
use macvlan_shim::model::snapshot::{GuestAddress, Netns};
use macvlan_shim::model::{Changes, LinkIndex};

use crate::host::{Guest, Host};
use crate::look::{assert_truth, eventually, net, next_changes, only_child};

#[test]
fn a_child_that_moves_into_a_namespace_is_followed_by_events_alone() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let guest = host.guest();
    host.ip("link add mac0 link eth0 type macvlan mode bridge");
    let changes = kernel.drain();
    assert!(!changes.new_children.is_empty(), "{changes:?}");
    let here = *kernel.snapshot().children.keys().next().unwrap();
    assert_eq!(here.netns, Netns::Host);

    host.ip(&format!("link set mac0 netns {} name eth0 address 00:16:3e:00:00:01", guest.pid()));
    let changes = kernel.drain();
    assert!(changes.all && !changes.new_children.contains(&here), "{changes:?}");
    let (key, child) = only_child(&kernel);
    assert!(matches!(key.netns, Netns::Id(_)));
    let eth0 = kernel.snapshot().link_named("eth0").unwrap().index;
    assert_eq!((child.parent, child.mode, child.tap), (eth0, Mode::Bridge, false));
    assert!(child.addresses.is_empty());

    guest.ip("link set eth0 up");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    guest.ip("addr add 2001:db8::100/64 dev eth0");
    eventually(&mut kernel, |snapshot| snapshot.children.values().all(|child| child.addresses.len() == 2));
    let states = only_child(&kernel).1.addresses;
    assert_eq!(states.get(&net("192.0.2.100/24")), Some(&GuestAddress::Settled));
    assert_eq!(states.get(&net("2001:db8::100/64")), Some(&GuestAddress::Tentative));
    assert_eq!(states.len(), 2, "the link-local address is not wanted: {states:?}");
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.values().next().unwrap();
        child.addresses.get(&net("2001:db8::100/64")) == Some(&GuestAddress::Settled)
    });

    guest.ip("link set eth0 address 00:16:3e:00:00:02");
    let changes = next_changes(&mut kernel);
    assert!(changes.all && changes.new_children.is_empty(), "{changes:?}");
    assert_eq!(only_child(&kernel).0, key);
    assert_eq!(only_child(&kernel).1.mac, Mac([0, 0x16, 0x3e, 0, 0, 2]));
    assert_truth(&mut kernel);
}

#[test]
fn a_dhcp_renewal_changes_nothing_once_it_is_over() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let mut kernel = Kernel::open().unwrap();
    guest.ip("addr del 192.0.2.100/24 dev eth0");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    assert_eq!(kernel.drain(), Changes::default());
    guest.ip("addr del 192.0.2.100/24 dev eth0");
    assert_eq!(next_changes(&mut kernel).children.len(), 1);
    assert!(only_child(&kernel).1.addresses.is_empty());
}

#[test]
fn other_links_of_a_guest_do_not_count() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    let mut kernel = Kernel::open().unwrap();
    guest.ip("link add docker0 type bridge");
    guest.ip("addr add 192.0.2.33/24 dev docker0");
    guest.ip("link add va type veth peer name vb");
    guest.ip("link add inner link va type macvlan mode bridge");
    guest.ip("addr add 192.0.2.34/24 dev inner");
    assert_eq!(kernel.drain(), Changes::default());
    // A macvlan on the guest's own NIC, however, hangs on the host's parent.
    guest.ip("link add vip link eth0 type macvlan mode private");
    let changes = next_changes(&mut kernel);
    assert!(changes.new_children.len() == 1, "{changes:?}");
    assert!(kernel.snapshot().children.values().any(|child| child.mode == Mode::Private));
    assert_truth(&mut kernel);
}

#[test]
fn the_namespace_of_a_process_is_known_once_it_has_an_id() {
    let host = Host::new();
    let guest = host.guest();
    let mut kernel = Kernel::open().unwrap();
    kernel.locate([guest.pid(), std::process::id(), u32::MAX / 2].map(Home::Pid).into());
    kernel.drain();
    assert!(kernel.snapshot().homes.is_empty(), "{:?}", kernel.snapshot().homes);
    host.ip("link add mac0 link eth0 type macvlan mode bridge");
    host.ip(&format!("link set mac0 netns {}", guest.pid()));
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.keys().next().map(|key| key.netns);
        child.is_some_and(|netns| {
            netns != Netns::Host && snapshot.homes.get(&Home::Pid(guest.pid())) == Some(&netns)
        })
    });
    assert_eq!(kernel.snapshot().homes.len(), 1);
    let pid = guest.pid();
    drop(guest);
    eventually(&mut kernel, |snapshot| !snapshot.homes.contains_key(&Home::Pid(pid)));
    kernel.locate([].into());
    kernel.drain();
    assert!(kernel.snapshot().homes.is_empty());
}

#[test]
fn the_namespace_that_a_file_holds_is_known() {
    let host = Host::new();
    let guest = host.guest();
    host.ip("link add mac0 link eth0 type macvlan mode bridge");
    host.ip(&format!("link set mac0 netns {}", guest.pid()));
    let file = |path: &str| Home::File(path.into());
    let its = file(&format!("/proc/{}/ns/net", guest.pid()));
    let mut kernel = Kernel::open().unwrap();
    kernel.locate([its.clone(), file("/proc/self/ns/mnt"), file("/dev/null"), file("/nowhere")].into());
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.keys().next().map(|key| key.netns);
        child.is_some() && snapshot.homes.get(&its).copied() == child
    });
    assert_eq!(kernel.snapshot().homes.len(), 1);
}

#[test]
fn a_bridge_that_the_nic_is_a_port_of_has_its_addresses() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let mut kernel = Kernel::open().unwrap();
    let (key, _) = only_child(&kernel);
    let addresses = |kernel: &Kernel| only_child(kernel).1.addresses.into_keys().collect::<Vec<_>>();

    guest.ip("link add br0 type bridge");
    guest.ip("addr add 192.0.2.101/24 dev br0");
    assert_eq!(kernel.drain(), Changes::default(), "a bridge beside the NIC is none of our business");
    guest.ip("link set eth0 master br0");
    assert!(next_changes(&mut kernel).all);
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.values().next().unwrap();
        child.master.as_ref().is_some_and(|master| master.name == "br0" && master.mac == Some(child.mac))
    });
    assert_eq!(addresses(&kernel), [net("192.0.2.100/24"), net("192.0.2.101/24")]);

    // Only by the events of its addresses.
    guest.ip("addr del 192.0.2.101/24 dev br0");
    let changes = next_changes(&mut kernel);
    assert!(!changes.all && changes.children.contains(&key), "{changes:?}");
    guest.ip("addr add 2001:db8::7/64 dev br0 nodad");
    eventually(&mut kernel, |snapshot| snapshot.children.values().all(|child| child.addresses.len() == 2));
    assert_eq!(addresses(&kernel), [net("192.0.2.100/24"), net("2001:db8::7/64")]);

    // Another port takes the bridge's MAC from the NIC's port.
    guest.ip("link set br0 address 02:00:00:00:00:77");
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.values().next().unwrap();
        child.master.as_ref().is_some_and(|master| master.mac != Some(child.mac))
    });
    assert_truth(&mut kernel);

    guest.ip("link del br0");
    eventually(&mut kernel, |snapshot| snapshot.children.values().all(|child| child.master.is_none()));
    assert_eq!(addresses(&kernel), [net("192.0.2.100/24")]);
    assert_truth(&mut kernel);
}

#[test]
fn other_links_on_the_nics_bridge_do_not_count() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    guest.ip("link add br0 type bridge");
    guest.ip("link set eth0 master br0");
    let mut kernel = Kernel::open().unwrap();
    assert!(only_child(&kernel).1.master.is_some());
    guest.ip("link add upon link br0 type macvlan mode bridge");
    guest.ip("addr add 192.0.2.102/24 dev upon");
    guest.ip("link add va type veth peer name vb");
    guest.ip("addr add 192.0.2.103/24 dev va");
    guest.ip("link set va address fe:00:00:00:00:01");
    guest.ip("link set va master br0");
    assert_truth(&mut kernel);
    assert!(only_child(&kernel).1.addresses.is_empty());
}

#[test]
fn a_guest_that_has_many_children_has_no_more_addresses_than_another() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    let mut batch = String::new();
    for child in 0..3 {
        batch += &format!("link add more{child} link eth0 type macvlan mode bridge\n");
        for address in 0..700 {
            let (high, low) = (address / 250, address % 250);
            batch += &format!("addr add 198.18.{}.{low}/32 dev more{child}\n", child * 10 + high);
        }
    }
    guest.ip_batch(&batch).wait().unwrap();
    let mut kernel = Kernel::open().unwrap();
    let count = |kernel: &Kernel| -> usize {
        kernel.snapshot().children.values().map(|child| child.addresses.len()).sum()
    };
    assert_eq!(count(&kernel), 1024);
    guest.ip("addr add 198.18.99.1/32 dev more0");
    guest.ip("addr add 198.18.99.2/32 dev more2");
    kernel.drain();
    assert_eq!(count(&kernel), 1024);
}

#[test]
fn a_child_among_more_links_than_are_looked_at_is_found() {
    let host = Host::new();
    let guest = host.guest();
    // No bridges: their end would hold up the whole machine for ten seconds (FACTS 69).
    let links: String = (0..300).map(|n| format!("link add v{n} type veth peer name w{n}\n")).collect();
    guest.ip("link add br7 type bridge");
    assert!(guest.ip_batch(&links).wait().unwrap().success());
    for (index, kind) in [(5000, "macvlan"), (5001, "macvtap")] {
        host.ip(&format!("link add m{index} index {index} link eth0 type {kind} mode bridge"));
        host.ip(&format!("link set m{index} netns {}", guest.pid()));
    }
    guest.ip("addr add 192.0.2.100/24 dev m5000");
    guest.ip("link set m5000 master br7");
    guest.ip("addr add 192.0.2.101/24 dev br7");
    let mut kernel = Kernel::open().unwrap();
    let children = &kernel.snapshot().children;
    assert_eq!(children.keys().map(|key| key.index).collect::<Vec<_>>(), [LinkIndex(5000), LinkIndex(5001)]);
    let child = children.values().next().unwrap();
    assert_eq!(child.master.as_ref().map(|master| master.name.as_str()), Some("br7"));
    assert!(child.addresses.keys().copied().eq([net("192.0.2.100/24"), net("192.0.2.101/24")]));
    assert_truth(&mut kernel);
}

#[test]
fn a_namespace_that_ends_takes_its_children_along_and_its_id_is_free_at_once() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let mut kernel = Kernel::open().unwrap();
    let (old, _) = only_child(&kernel);
    drop(guest);
    eventually(&mut kernel, |snapshot| snapshot.children.is_empty());

    let _guest = host.guest_with_child("eth0", "00:16:3e:00:00:02");
    let changes = kernel.drain();
    let (new, child) = only_child(&kernel);
    assert!(changes.new_children.contains(&new), "{changes:?}");
    assert_eq!(new.netns, old.netns, "the kernel gives the lowest free id");
    assert_eq!(child.mac, Mac([0, 0x16, 0x3e, 0, 0, 2]));
    assert!(child.addresses.is_empty());
}

#[test]
fn an_id_that_changes_hands_unnoticed_shows_the_new_namespace() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:01");
    let mut kernel = Kernel::open().unwrap();
    // Another listener shows when the id is free, so that ours sees the end and the beginning in one go.
    let mut other = Kernel::open().unwrap();
    drop(guest);
    eventually(&mut other, |snapshot| snapshot.children.is_empty());
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:02");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let (old, _) = only_child(&kernel);
    assert!(next_changes(&mut kernel).all);
    assert_eq!(only_child(&kernel).0.netns, old.netns);
    assert_eq!(only_child(&kernel).1.mac, Mac([0, 0x16, 0x3e, 0, 0, 2]));
    assert_eq!(only_child(&kernel).1.addresses.len(), 1);
}

#[test]
fn a_child_that_is_deleted_or_moved_back_is_gone_from_its_namespace() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    let mut kernel = Kernel::open().unwrap();
    let (key, _) = only_child(&kernel);
    guest.ip("link del eth0");
    assert!(next_changes(&mut kernel).all);
    assert!(!kernel.snapshot().children.contains_key(&key));
    assert!(kernel.snapshot().children.is_empty());
}

#[test]
fn guests_beyond_the_truncated_list_of_ids_are_found() {
    let host = Host::new();
    let guests: Vec<Guest> = (0..150).map(|_| host.guest_with_child("eth0", "")).collect();
    guests[149].ip("addr add 192.0.2.149/24 dev eth0");
    let kernel = Kernel::open().unwrap();
    assert_eq!(kernel.snapshot().children.len(), 150);
    assert!(kernel.snapshot().children.values().any(|child| !child.addresses.is_empty()));
}

#[test]
fn a_guest_that_keeps_changing_cannot_keep_us_busy() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    let mut kernel = Kernel::open().unwrap();
    let storm: String =
        (0..20_000).map(|_| "addr add 192.0.2.77/32 dev eth0\naddr del 192.0.2.77/32 dev eth0\n").collect();
    let mut process = guest.ip_batch(&storm);
    let mut drains = 0;
    while process.try_wait().unwrap().is_none() {
        kernel.drain();
        drains += 1;
    }
    guest.ip("addr add 192.0.2.78/32 dev eth0");
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.values().next().unwrap();
        child.addresses.keys().copied().eq([net("192.0.2.78/32")])
    });
    assert!(drains > 0);
    assert_truth(&mut kernel);
}
