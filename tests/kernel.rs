//! The kernel layer against the real kernel, with no server: each test in fresh network namespaces that
//! end with it. Needs root; without it the tests fail.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says so by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::kernel::{ErrorCode, Kernel};
use macvlan_shim::model::inventory::Mode;
use macvlan_shim::model::names::{LINK_GROUP, TABLE, TABLE_MAIN};
use macvlan_shim::model::snapshot::{
    Child, ChildKey, GuestAddress, LinkKind, Neighbour, NeighbourState, Netns, Rule, Setting,
};
use macvlan_shim::model::{Changes, Mac, Op, ShimRef, Snapshot};

// What the snapshot shows

#[test]
fn the_snapshot_shows_the_hosts_objects() {
    let host = Host::new();
    host.ip("link add br0 type bridge");
    host.ip("link set lan master br0");
    host.ip("addr add 192.0.2.7/32 dev br0");
    host.ip("route add 198.51.100.0/24 via 192.0.2.254 dev eth0");
    host.ip("route add 198.51.101.0/24 nexthop via 192.0.2.252 nexthop via 192.0.2.253");
    host.ip("route add 198.51.102.0/24 via inet6 2001:db8::fe dev eth0");
    host.ip("route add 198.51.100.5/32 via 192.0.2.254");
    host.ip("route add 203.0.113.0/24 dev eth0 metric 9");
    host.ip("rule add from 192.0.2.1 lookup 100 pref 50");
    host.ip("neigh add 192.0.2.50 lladdr 02:00:00:00:00:50 dev eth0 nud stale");
    host.ip("neigh add proxy 2001:db8::99 dev eth0");
    let kernel = Kernel::open().unwrap();
    let snapshot = kernel.snapshot();
    assert_eq!(kernel.problems(), Vec::<String>::new());

    let eth0 = snapshot.link_named("eth0").unwrap();
    assert!(eth0.up && eth0.multicast && eth0.mtu == 1500 && !eth0.wireless);
    assert_eq!(eth0.kind, LinkKind::Other("veth".to_owned()));
    assert_eq!(snapshot.link_named("br0").unwrap().kind, LinkKind::Bridge);
    assert_eq!(snapshot.link_named("lan").unwrap().master, Some(snapshot.link_named("br0").unwrap().index));

    let address =
        |text: &str| *snapshot.addresses.iter().find(|(key, _)| key.address == net(text)).unwrap().1;
    assert!(address("192.0.2.1/24").usable && !address("192.0.2.1/24").ours);
    assert!(address("2001:db8::1/64").usable);

    let routes: BTreeMap<IpNet, _> =
        snapshot.routes.iter().map(|(key, route)| (key.destination, (key.link, route.gateway))).collect();
    assert_eq!(routes.get(&net("192.0.2.0/24")), Some(&(eth0.index, false)));
    assert_eq!(routes.get(&net("203.0.113.0/24")), Some(&(eth0.index, false)));
    assert_eq!(routes.get(&net("2001:db8::/64")), Some(&(eth0.index, false)));
    assert_eq!(routes.get(&net("198.51.100.5/32")), Some(&(eth0.index, true)));
    assert!(!routes.contains_key(&net("198.51.100.0/24")), "{routes:?}");
    assert!(!routes.contains_key(&net("198.51.101.0/24")), "{routes:?}");
    assert!(!routes.contains_key(&net("192.0.2.1/32")), "table local is not wanted: {routes:?}");
    let hops: BTreeSet<IpAddr> =
        ["192.0.2.252", "192.0.2.253", "192.0.2.254", "2001:db8::fe"].map(ip).into_iter().collect();
    assert_eq!(snapshot.next_hops, hops);

    assert!(snapshot.rules.contains(&Rule { ipv6: false, priority: 50, table: 100, ours: false }));
    assert!(snapshot.rules.contains(&Rule { ipv6: true, priority: 32766, table: TABLE_MAIN, ours: false }));
    let mac = Some(Mac([2, 0, 0, 0, 0, 0x50]));
    let stale = Neighbour { mac, state: NeighbourState::Stale, ours: false };
    assert_eq!(snapshot.neighbours.get(&(ip("192.0.2.50"), eth0.index)), Some(&stale));
    assert_eq!(snapshot.proxies.get(&(eth0.index, "2001:db8::99".parse().unwrap())), Some(&false));
    assert!(snapshot.host.ipv6);
    assert!(snapshot.children.is_empty());
}

#[test]
fn gateways_of_next_hop_objects_are_next_hops_even_where_routes_hide_them() {
    let host = Host::new();
    std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
    host.ip("nexthop add id 7 via 192.0.2.250 dev eth0");
    host.ip("route add 198.51.100.0/24 nhid 7");
    let kernel = Kernel::open().unwrap();
    assert!(kernel.snapshot().next_hops.contains(&ip("192.0.2.250")));
    let on_link = kernel.snapshot().routes.keys().any(|key| key.destination == net("198.51.100.0/24"));
    assert!(!on_link, "a hidden gateway is no on-link range");
}

#[test]
fn host_objects_follow_their_events_and_repeated_events_change_nothing() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    assert_eq!(kernel.drain(), Changes::default());

    host.ip("addr add 192.0.2.9/24 dev eth0");
    host.ip("route add 203.0.113.0/24 dev eth0");
    host.ip("route add default via 192.0.2.254");
    host.ip("rule add lookup 100 pref 60");
    host.ip("neigh add 192.0.2.60 lladdr 02:00:00:00:00:60 dev eth0 nud permanent");
    let changes = kernel.drain();
    assert!(changes.all && changes.new_children.is_empty());
    assert_eq!(changes.addresses, BTreeSet::from([ip("192.0.2.60")]));
    host.assert_truth(&mut kernel);

    host.ip("neigh change 192.0.2.60 lladdr 02:00:00:00:00:61 dev eth0 nud permanent");
    let changes = kernel.drain();
    assert!(!changes.all, "{changes:?}");

    host.ip("neigh change 192.0.2.60 lladdr 02:00:00:00:00:61 dev eth0 nud permanent");
    host.ip("link set eth0 mtu 1500");
    assert_eq!(kernel.drain(), Changes::default());

    host.ip("addr del 192.0.2.9/24 dev eth0");
    host.ip("route del 203.0.113.0/24 dev eth0");
    host.ip("rule del lookup 100 pref 60");
    host.ip("neigh del 192.0.2.60 dev eth0");
    assert!(kernel.drain().all);
    host.assert_truth(&mut kernel);

    host.ip("link set eth0 name uplink");
    host.ip("link set uplink mtu 1400");
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().link_named("uplink").unwrap().mtu, 1400);
    host.ip("link del uplink");
    assert!(kernel.drain().all);
    host.assert_truth(&mut kernel);
}

#[test]
fn a_removed_gateway_is_forgotten_soon() {
    let host = Host::new();
    host.ip("route add default via 192.0.2.254");
    let mut kernel = Kernel::open().unwrap();
    host.ip("route del default via 192.0.2.254");
    eventually(&mut kernel, |snapshot| snapshot.next_hops.is_empty());
}

// Guests

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
    kernel.drain();
    let states = only_child(&kernel).1.addresses;
    assert_eq!(states.get(&net("192.0.2.100/24")), Some(&GuestAddress::Settled));
    assert_eq!(states.get(&net("2001:db8::100/64")), Some(&GuestAddress::Tentative));
    assert_eq!(states.len(), 2, "the link-local address is not wanted: {states:?}");
    eventually(&mut kernel, |snapshot| {
        let child = snapshot.children.values().next().unwrap();
        child.addresses.get(&net("2001:db8::100/64")) == Some(&GuestAddress::Settled)
    });

    guest.ip("link set eth0 address 00:16:3e:00:00:02");
    let changes = kernel.drain();
    assert!(changes.all && changes.new_children.is_empty(), "{changes:?}");
    assert_eq!(only_child(&kernel).0, key);
    assert_eq!(only_child(&kernel).1.mac, Mac([0, 0x16, 0x3e, 0, 0, 2]));
    host.assert_truth(&mut kernel);
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
    assert_eq!(kernel.drain().children.len(), 1);
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
    let changes = kernel.drain();
    assert!(changes.new_children.len() == 1, "{changes:?}");
    assert!(kernel.snapshot().children.values().any(|child| child.mode == Mode::Private));
    host.assert_truth(&mut kernel);
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
    // Another listener tells when the id is free, so that ours sees end and beginning in one go.
    let mut other = Kernel::open().unwrap();
    drop(guest);
    eventually(&mut other, |snapshot| snapshot.children.is_empty());
    let guest = host.guest_with_child("eth0", "00:16:3e:00:00:02");
    guest.ip("addr add 192.0.2.100/24 dev eth0");
    let (old, _) = only_child(&kernel);
    assert!(kernel.drain().all);
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
    assert!(kernel.drain().all);
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
fn a_guest_that_changes_without_end_cannot_keep_us_busy() {
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
    host.assert_truth(&mut kernel);
}

// Lost events, waiting

#[test]
fn lost_events_are_made_up_for() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let routes: String = (0..40_000u32)
        .map(|n| format!("route add 10.{}.{}.{}/32 dev eth0\n", n >> 16, (n >> 8) & 255, n & 255))
        .collect();
    assert!(host.ip_batch(&routes).wait().unwrap().success());
    assert!(kernel.drain().all);
    assert_eq!(kernel.problems(), Vec::<String>::new());
    host.assert_truth(&mut kernel);
    let many = kernel.snapshot().routes.keys().filter(|key| key.destination.prefix_len() == 32).count();
    assert_eq!(many, 40_000);
}

#[test]
fn waiting_ends_with_an_event_and_may_be_given_up() {
    let host = Host::new();
    let guest = host.guest_with_child("eth0", "");
    let mut kernel = Kernel::open().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for round in 0..3 {
            let none = tokio::time::timeout(Duration::from_millis(50), kernel.changed()).await;
            assert!(none.is_err(), "there is nothing to say");
            guest.ip(&format!("addr add 192.0.2.10{round}/24 dev eth0"));
            tokio::time::timeout(Duration::from_secs(5), kernel.changed()).await.unwrap().unwrap();
            assert_eq!(kernel.drain().children.len(), 1);
            host.ip(&format!("route add 203.0.113.{round}/32 dev eth0"));
            tokio::time::timeout(Duration::from_secs(5), kernel.changed()).await.unwrap().unwrap();
            assert!(kernel.drain().all);
        }
    });
}

// Writes

#[test]
fn every_operation_is_seen_once_applied_and_may_be_applied_twice() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, mut shim) = (host.parent(&kernel), host.shim_ref());
    for op in host.making(&shim, parent, TABLE) {
        apply_twice(&mut kernel, &op);
    }
    kernel.drain();
    host.assert_truth(&mut kernel);
    let snapshot = kernel.snapshot();
    let link = snapshot.link_named(&shim.name).unwrap().clone();
    assert_eq!(
        snapshot.shims().map(|(parent, link)| (parent, link.index)).collect::<Vec<_>>(),
        [(parent, link.index)]
    );
    assert_eq!((link.mtu, link.up, link.multicast, link.mac), (1500, true, false, Some(SHIM_MAC)));
    assert!(snapshot.children.is_empty(), "a shim is no child");

    let settings = &snapshot.settings[&link.index];
    assert_eq!(settings[&Setting::ArpFilter], 1);
    assert_eq!(settings[&Setting::Ipv6AddrGenMode], 1);
    assert_eq!(settings[&Setting::Ipv6ProxyNdp], 1);
    assert_eq!(settings.len(), Setting::ALL.len());
    assert!(snapshot.proxies[&(link.index, "2001:db8::1".parse().unwrap())]);
    for (address, source) in [("192.0.2.100", "192.0.2.1"), ("2001:db8::100", "2001:db8::1")] {
        let entry = snapshot.neighbours[&(ip(address), link.index)];
        assert_eq!(entry, Neighbour { mac: Some(GUEST_MAC), state: NeighbourState::Permanent, ours: true });
        let (key, route) =
            snapshot.routes.iter().find(|(key, _)| key.destination == ip(address).into()).unwrap();
        assert_eq!((key.table, key.link), (TABLE, link.index));
        assert_eq!((route.source, route.ours, route.gateway), (Some(ip(source)), true, false));
    }
    assert!(
        snapshot.routes.iter().any(|(key, route)| key.destination == net("203.0.113.64/27") && route.ours)
    );
    assert!(snapshot.rules.contains(&Rule { ipv6: false, priority: 70, table: TABLE, ours: true }));
    assert!(snapshot.rules.contains(&Rule { ipv6: true, priority: 70, table: TABLE, ours: true }));
    let own: Vec<_> =
        snapshot.addresses.iter().filter(|(key, it)| key.link == link.index && it.ours).collect();
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own.iter().all(|(_, address)| address.usable));

    // The same, named by ifindex, changes nothing.
    shim.index = Some(link.index);
    for op in host.making(&shim, parent, TABLE) {
        kernel.apply(&op).unwrap();
    }
    assert_eq!(kernel.drain(), Changes::default());

    for op in host.breaking(&kernel) {
        apply_twice(&mut kernel, &op);
    }
    kernel.drain();
    host.assert_truth(&mut kernel);
    let snapshot = kernel.snapshot();
    assert_eq!(snapshot.shims().count(), 0);
    assert!(!snapshot.routes.values().any(|route| route.ours));
    assert!(!snapshot.rules.iter().any(|rule| rule.ours));
    assert!(snapshot.proxies.is_empty() && snapshot.settings.is_empty());
}

#[test]
fn what_is_ours_is_replaced_and_what_is_not_is_left_alone() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, shim) = (host.parent(&kernel), host.shim_ref());
    host.make(&mut kernel, &shim, parent);
    let (name, route) = (&shim.name, |to: &str, source: &str, table, replace| Op::SetRoute {
        shim: shim.clone(),
        destination: net(to),
        source: Some(ip(source)),
        table,
        replace,
    });
    // Another source, with and without being told that one is there.
    host.ip("addr add 192.0.2.2/24 dev eth0");
    for replace in [true, false] {
        let source = if replace { "192.0.2.2" } else { "192.0.2.1" };
        kernel.apply(&route("192.0.2.100/32", source, TABLE_MAIN, replace)).unwrap();
        kernel.drain();
        let ours = kernel.snapshot().routes.iter().find(|(key, _)| key.destination == net("192.0.2.100/32"));
        assert_eq!(ours.unwrap().1.source, Some(ip(source)));
    }
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    kernel.apply(&Op::SetNeighbour { shim: shim.clone(), address: ip("192.0.2.100"), mac }).unwrap();
    kernel.drain();
    let index = kernel.snapshot().link_named(name).unwrap().index;
    assert_eq!(kernel.snapshot().neighbours[&(ip("192.0.2.100"), index)].mac, Some(mac));

    // Foreign objects in the way.
    host.ip("route add 192.0.2.120/32 dev eth0");
    host.ip("route add 2001:db8::120/128 dev eth0 metric 1024");
    for (to, source) in [("192.0.2.120/32", "192.0.2.1"), ("2001:db8::120/128", "2001:db8::1")] {
        let error = kernel.apply(&route(to, source, TABLE_MAIN, false)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Exists, "{error:?}");
    }
    host.ip(&format!("neigh add 192.0.2.121 lladdr 02:00:00:00:00:21 dev {name} nud permanent"));
    let set = Op::SetNeighbour { shim: shim.clone(), address: ip("192.0.2.121"), mac };
    assert_eq!(kernel.apply(&set).unwrap_err().code, ErrorCode::Exists);
    host.ip(&format!("neigh add 192.0.2.122 lladdr 02:00:00:00:00:22 dev {name} nud stale"));
    kernel.apply(&Op::SetNeighbour { shim: shim.clone(), address: ip("192.0.2.122"), mac }).unwrap();
    host.ip(&format!("addr add 192.0.2.123/32 dev {name}"));
    let add = Op::AddAddress { shim: shim.clone(), address: ip("192.0.2.123") };
    assert_eq!(kernel.apply(&add).unwrap_err().code, ErrorCode::Exists);
    host.ip(&format!("neigh add proxy 2001:db8::44 dev {name}"));
    let proxy = "2001:db8::44".parse().unwrap();
    kernel.apply(&Op::AddProxy { shim: shim.clone(), address: proxy }).unwrap();
    kernel.drain();
    assert_eq!(kernel.snapshot().proxies.get(&(index, proxy)), Some(&false), "it is not made ours");

    // Deleting asks for our mark.
    let link_name = name.clone();
    kernel.apply(&Op::DeleteProxy { link: index, link_name: link_name.clone(), address: proxy }).unwrap();
    let address = ip("192.0.2.121");
    kernel.apply(&Op::DeleteNeighbour { link: index, link_name: link_name.clone(), address }).unwrap();
    let destination = net("192.0.2.120/32");
    let link = parent;
    kernel
        .apply(&Op::DeleteRoute {
            link,
            link_name: "eth0".to_owned(),
            destination,
            table: TABLE_MAIN,
            metric: 0,
        })
        .unwrap();
    host.ip("rule add lookup 77 pref 71");
    kernel.apply(&Op::DeleteRule { ipv6: false, priority: 71 }).unwrap();
    let error = kernel.apply(&Op::DeleteShim { link, link_name }).unwrap_err();
    assert_eq!(error.code, ErrorCode::Exists);
    kernel.drain();
    host.assert_truth(&mut kernel);
    let snapshot = kernel.snapshot();
    assert!(snapshot.proxies.contains_key(&(index, proxy)));
    assert!(snapshot.neighbours.contains_key(&(address, index)));
    assert!(snapshot.routes.keys().any(|key| key.destination == destination));
    assert!(snapshot.rules.iter().any(|rule| rule.priority == 71));
    assert!(snapshot.link_named("eth0").is_some());
}

#[test]
fn failures_say_what_is_wrong() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, shim) = (host.parent(&kernel), host.shim_ref());
    let create = |parent, mac, mtu| Op::CreateShim {
        shim: shim.clone(),
        parent,
        parent_name: "eth0".to_owned(),
        mac,
        mtu,
    };
    host.ip(&format!("link add {} type bridge", shim.name));
    let error = kernel.apply(&create(parent, SHIM_MAC, 1500)).unwrap_err();
    assert_eq!(error.code, ErrorCode::NameTaken, "{error:?}");
    assert!(error.message.contains(&shim.name) && error.hint.is_some());
    assert_eq!(kernel.apply(&Op::SetUp { shim: shim.clone() }).unwrap_err().code, ErrorCode::NameTaken);
    host.ip(&format!("link del {}", shim.name));

    assert_eq!(kernel.apply(&create(parent, SHIM_MAC, 9000)).unwrap_err().code, ErrorCode::ParentBusy);
    host.ip("link add br0 type bridge");
    host.ip("link set eth0 master br0");
    let error = kernel.apply(&create(parent, SHIM_MAC, 1500)).unwrap_err();
    assert_eq!(error.code, ErrorCode::ParentBusy, "{error:?}");
    host.ip("link set eth0 nomaster");
    assert!(kernel.apply(&create(9999, SHIM_MAC, 1500)).unwrap_err().hint.is_some());

    // A guest may take the shim's MAC: then the shim cannot go up.
    let guest = host.guest_with_child("eth0", "02:4d:53:00:00:01");
    guest.ip("link set eth0 up");
    kernel.apply(&create(parent, SHIM_MAC, 1500)).unwrap();
    let error = kernel.apply(&Op::SetUp { shim: shim.clone() }).unwrap_err();
    assert_eq!(error.code, ErrorCode::MacTaken, "{error:?}");

    guest.ip("link set eth0 down");
    kernel.apply(&Op::SetUp { shim: shim.clone() }).unwrap();
    let error = kernel
        .apply(&Op::SetRoute {
            shim: shim.clone(),
            destination: net("192.0.2.100/32"),
            source: Some(ip("192.0.2.200")),
            table: TABLE_MAIN,
            replace: false,
        })
        .unwrap_err();
    assert!(error.message.contains("Invalid prefsrc address"), "the kernel's words are kept: {error:?}");
    let missing = ShimRef { name: "mvs-none".to_owned(), index: None };
    let error = kernel.apply(&Op::Set { shim: missing, setting: Setting::ArpFilter, value: 1 }).unwrap_err();
    assert_eq!(error.code, ErrorCode::Other);
}

#[test]
fn an_old_holder_is_asked_whether_it_is_still_there() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (link, address) = (host.parent(&kernel), ip("192.0.2.50"));
    let probe = Op::Probe { link, link_name: "eth0".to_owned(), address };
    kernel.apply(&probe).unwrap();
    kernel.drain();
    assert!(kernel.snapshot().neighbours.is_empty(), "nobody known, nobody asked");
    host.ip("neigh add 192.0.2.50 lladdr 02:00:00:00:00:50 dev eth0 nud stale");
    kernel.apply(&probe).unwrap();
    kernel.drain();
    assert_eq!(kernel.snapshot().neighbours[&(address, link)].state, NeighbourState::Probing);
    eventually(&mut kernel, |snapshot| {
        snapshot
            .neighbours
            .get(&(address, link))
            .is_none_or(|entry| entry.state == NeighbourState::Unresolved)
    });
}

// What the kernel drops without a word

#[test]
fn routes_that_go_with_a_link_or_an_address_are_noticed() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, shim) = (host.parent(&kernel), host.shim_ref());
    host.make(&mut kernel, &shim, parent);
    kernel.drain();
    let count = |kernel: &Kernel| kernel.snapshot().routes.values().filter(|route| route.ours).count();
    assert_eq!(count(&kernel), 3);

    host.ip(&format!("link set {} down", shim.name));
    host.ip(&format!("link set {} up", shim.name));
    assert!(kernel.drain().all);
    assert_eq!(count(&kernel), 0);
    assert!(kernel.snapshot().proxies.is_empty());
    host.assert_truth(&mut kernel);

    host.make(&mut kernel, &shim, parent);
    kernel.drain();
    assert_eq!(count(&kernel), 3);
    host.ip("addr del 192.0.2.1/24 dev eth0");
    kernel.drain();
    host.assert_truth(&mut kernel);
    assert_eq!(count(&kernel), 2, "the one with the address as its source is gone");
    host.ip("addr del 2001:db8::1/64 dev eth0");
    kernel.drain();
    host.assert_truth(&mut kernel);

    host.ip("link del eth0");
    kernel.drain();
    host.assert_truth(&mut kernel);
    assert_eq!((count(&kernel), kernel.snapshot().shims().count()), (0, 0));
}

#[test]
fn a_setting_that_another_changes_is_noticed() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, shim) = (host.parent(&kernel), host.shim_ref());
    host.make(&mut kernel, &shim, parent);
    kernel.drain();
    let index = kernel.snapshot().link_named(&shim.name).unwrap().index;
    assert_eq!(kernel.snapshot().settings[&index][&Setting::Ipv6Forwarding], 1);
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0").unwrap();
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().settings[&index][&Setting::Ipv6Forwarding], 0);
    host.assert_truth(&mut kernel);
}

#[test]
fn a_resync_finds_what_no_event_tells() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").unwrap();
    kernel.drain();
    assert_eq!(kernel.snapshot().host.arp_ignore, 0);
    kernel.resync();
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().host.arp_ignore, 1);
    kernel.resync();
    assert_eq!(kernel.drain(), Changes::default());
    host.assert_truth(&mut kernel);
}

// The laboratory

const SHIM_MAC: Mac = Mac([2, 0x4d, 0x53, 0, 0, 1]);
const GUEST_MAC: Mac = Mac([0, 0x16, 0x3e, 0, 0, 1]);

/// The network namespace of the test's own thread, with one uplink `eth0` (its LAN: `lan`).
struct Host;

impl Host {
    fn new() -> Host {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root is needed");
        let host = Host;
        host.ip("link set lo up");
        host.ip("link add eth0 address 02:00:00:00:00:01 type veth peer name lan");
        // Link-local addresses of IPv6 come on their own, and late.
        host.ip("link set lan addrgenmode none");
        host.ip("link set eth0 addrgenmode none");
        host.ip("link set lan up");
        host.ip("link set eth0 up");
        host.ip("addr add 192.0.2.1/24 dev eth0");
        host.ip("addr add 2001:db8::1/64 dev eth0 nodad");
        host
    }

    fn ip(&self, arguments: &str) {
        run(Command::new("ip").args(arguments.split(' ')));
    }

    fn ip_batch(&self, lines: &str) -> Process {
        batch(Command::new("ip"), lines)
    }

    fn guest(&self) -> Guest {
        Guest::new()
    }

    fn guest_with_child(&self, name: &str, mac: &str) -> Guest {
        let guest = Guest::new();
        self.ip("link add mac0 link eth0 type macvlan mode bridge");
        let mac = if mac.is_empty() { String::new() } else { format!(" address {mac}") };
        self.ip(&format!("link set mac0{mac} netns {} name {name}", guest.pid()));
        guest
    }

    fn parent(&self, kernel: &Kernel) -> u32 {
        kernel.snapshot().link_named("eth0").unwrap().index
    }

    fn shim_ref(&self) -> ShimRef {
        ShimRef { name: "mvs-eth0".to_owned(), index: None }
    }

    /// A shim with one guest, every kind of operation.
    fn making(&self, shim: &ShimRef, parent: u32, table: u32) -> Vec<Op> {
        let shim = shim.clone();
        let set = |setting, value| Op::Set { shim: shim.clone(), setting, value };
        let route = |to: &str, source: Option<&str>| Op::SetRoute {
            shim: shim.clone(),
            destination: net(to),
            source: source.map(ip),
            table,
            replace: false,
        };
        let neighbour =
            |address| Op::SetNeighbour { shim: shim.clone(), address: ip(address), mac: GUEST_MAC };
        let parent_name = "eth0".to_owned();
        vec![
            Op::CreateShim { shim: shim.clone(), parent, parent_name, mac: SHIM_MAC, mtu: 1400 },
            Op::SetMtu { shim: shim.clone(), mtu: 1500 },
            Op::MulticastOff { shim: shim.clone() },
            set(Setting::ArpFilter, 1),
            set(Setting::Ipv6AddrGenMode, 1),
            set(Setting::Ipv6Forwarding, 1),
            set(Setting::Ipv6ProxyNdp, 1),
            set(Setting::Ipv6ProxyDelay, 0),
            Op::SetUp { shim: shim.clone() },
            Op::AddAddress { shim: shim.clone(), address: ip("192.0.2.72") },
            Op::AddAddress { shim: shim.clone(), address: ip("2001:db8::72") },
            Op::AddProxy { shim: shim.clone(), address: "2001:db8::1".parse().unwrap() },
            neighbour("192.0.2.100"),
            route("192.0.2.100/32", Some("192.0.2.1")),
            neighbour("2001:db8::100"),
            route("2001:db8::100/128", Some("2001:db8::1")),
            route("203.0.113.64/27", None),
            Op::AddRule { ipv6: false, priority: 70 },
            Op::AddRule { ipv6: true, priority: 70 },
        ]
    }

    fn make(&self, kernel: &mut Kernel, shim: &ShimRef, parent: u32) {
        self.making(shim, parent, TABLE_MAIN).iter().for_each(|op| kernel.apply(op).unwrap());
    }

    /// Everything of ours, away.
    fn breaking(&self, kernel: &Kernel) -> Vec<Op> {
        let snapshot = kernel.snapshot();
        let name = |link: u32| snapshot.links[&link].name.clone();
        let mut ops = vec![];
        for rule in snapshot.rules.iter().filter(|rule| rule.ours) {
            ops.push(Op::DeleteRule { ipv6: rule.ipv6, priority: rule.priority });
        }
        for (key, _) in snapshot.routes.iter().filter(|(_, route)| route.ours) {
            let (link, destination, table, metric) = (key.link, key.destination, key.table, key.metric);
            ops.push(Op::DeleteRoute { link, link_name: name(link), destination, table, metric });
        }
        for (&(address, link), _) in snapshot.neighbours.iter().filter(|(_, entry)| entry.ours) {
            ops.push(Op::DeleteNeighbour { link, link_name: name(link), address });
        }
        for &(link, address) in snapshot.proxies.keys() {
            ops.push(Op::DeleteProxy { link, link_name: name(link), address });
        }
        for (key, _) in snapshot.addresses.iter().filter(|(_, address)| address.ours) {
            ops.push(Op::DeleteAddress { link: key.link, link_name: name(key.link), address: key.address });
        }
        for (_, shim) in snapshot.shims() {
            ops.push(Op::DeleteShim { link: shim.index, link_name: shim.name.clone() });
        }
        ops
    }

    /// What events have made of the snapshot is what a new look shows; soon, for the kernel's events about
    /// IPv6 addresses come after the fact.
    fn assert_truth(&self, kernel: &mut Kernel) {
        let start = Instant::now();
        loop {
            kernel.drain();
            let fresh = Kernel::open().unwrap();
            let (mut known, mut truth) = (kernel.snapshot().clone(), fresh.snapshot().clone());
            // Gateways may be forgotten a second late.
            assert!(known.next_hops.is_superset(&truth.next_hops));
            known.next_hops.clear();
            truth.next_hops.clear();
            if known == truth {
                return;
            }
            if start.elapsed() > Duration::from_secs(5) {
                assert_eq!(known, truth);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A guest's network namespace, alive as long as this.
struct Guest {
    process: Process,
}

impl Guest {
    fn new() -> Guest {
        let mut process = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "root is needed");
        Guest { process }
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("ip");
        command
    }

    fn ip(&self, arguments: &str) {
        run(self.inside().args(arguments.split(' ')));
    }

    fn ip_batch(&self, lines: &str) -> Process {
        batch(self.inside(), lines)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn batch(mut ip: Command, lines: &str) -> Process {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    let input = file.reopen().unwrap();
    ip.args(["-batch", "-"]).stdin(input).spawn().unwrap()
}

fn apply_twice(kernel: &mut Kernel, op: &Op) {
    for _ in 0..2 {
        if let Err(error) = kernel.apply(op) {
            panic!("{op}: {error:?}");
        }
    }
}

fn only_child(kernel: &Kernel) -> (ChildKey, Child) {
    let children = &kernel.snapshot().children;
    assert_eq!(children.len(), 1, "{children:?}");
    let (key, child) = children.iter().next().unwrap();
    (*key, child.clone())
}

fn eventually(kernel: &mut Kernel, holds: impl Fn(&Snapshot) -> bool) {
    let start = Instant::now();
    loop {
        kernel.drain();
        if holds(kernel.snapshot()) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "{:#?}", kernel.snapshot());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_mark_of_a_shim_is_the_one_that_ip_shows() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, shim) = (host.parent(&kernel), host.shim_ref());
    host.make(&mut kernel, &shim, parent);
    let output =
        Command::new("ip").args(["-o", "link", "show", "group", &LINK_GROUP.to_string()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("mvs-eth0@eth0"));
}
