//! Operations: the objects that they make, those that they leave alone, and their failures.

use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::Changes;
use macvlan_shim::model::names::{TABLE, TABLE_MAIN};
use macvlan_shim::model::snapshot::{Neighbour, NeighbourState, RouteKey, Rule, Setting};
use macvlan_shim::model::{Code, Family, LinkIndex, LinkRef, Mac, Op};

use crate::host::Host;
use crate::look::{assert_truth, eventually, ip, net};
use crate::shim::{GUEST_MAC, SHIM_MAC};

#[test]
fn every_operation_is_seen_once_applied_and_may_be_applied_twice() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, mut shim) = (host.parent(&kernel), host.shim_ref());
    for op in host.making(&shim, parent, TABLE) {
        apply_twice(&mut kernel, &op);
    }
    kernel.drain();
    assert_truth(&mut kernel);
    let snapshot = kernel.snapshot();
    let link = snapshot.link_named(&shim.name).unwrap().clone();
    assert_eq!(
        snapshot.shims().map(|(parent, link)| (parent, link.index)).collect::<Vec<_>>(),
        [(parent, link.index)]
    );
    assert_eq!((link.mtu, link.up, link.multicast, link.arp), (1500, true, false, true));
    assert_eq!(link.mac, Some(SHIM_MAC));
    assert!(snapshot.children.is_empty(), "a shim is no child");

    let settings = &snapshot.settings[&link.index];
    assert_eq!(settings[&Setting::ArpFilter], 1);
    assert_eq!(settings[&Setting::Ipv6AddrGenMode], 1);
    assert_eq!(settings[&Setting::Ipv6ProxyNdp], 1);
    assert_eq!(settings.len() + snapshot.host.lacks.len(), Setting::ALL.len());
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
    assert!(snapshot.rules.contains(&Rule { ours: true, ..Rule::look_up(Family::V4, 70, TABLE) }));
    assert!(snapshot.rules.contains(&Rule { ours: true, ..Rule::look_up(Family::V6, 70, TABLE) }));
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
    assert_truth(&mut kernel);
    let snapshot = kernel.snapshot();
    assert_eq!(snapshot.shims().count(), 0);
    assert!(!snapshot.routes.values().any(|route| route.ours));
    assert!(!snapshot.rules.iter().any(|rule| rule.ours));
    assert!(snapshot.proxies.is_empty() && snapshot.settings.is_empty());
}

#[test]
fn our_objects_are_replaced_and_foreign_ones_are_left_alone() {
    let (host, mut kernel, shim) = Host::with_shim();
    let (name, route) = (&shim.name, |to: &str, source: &str, table, replace| Op::SetRoute {
        shim: shim.clone(),
        destination: net(to),
        source: Some(ip(source)),
        table,
        replace,
    });
    // Another source, with and without the knowledge that one exists.
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
        assert_eq!(error.code, Code::Exists, "{error:?}");
    }
    host.ip(&format!("neigh add 192.0.2.121 lladdr 02:00:00:00:00:21 dev {name} nud permanent"));
    let set = Op::SetNeighbour { shim: shim.clone(), address: ip("192.0.2.121"), mac };
    assert_eq!(kernel.apply(&set).unwrap_err().code, Code::Exists);
    host.ip(&format!("neigh add 192.0.2.122 lladdr 02:00:00:00:00:22 dev {name} nud stale"));
    kernel.apply(&Op::SetNeighbour { shim: shim.clone(), address: ip("192.0.2.122"), mac }).unwrap();
    host.ip(&format!("addr add 192.0.2.123/32 dev {name}"));
    let add = Op::AddAddress { shim: shim.clone(), address: net("192.0.2.123/32") };
    assert_eq!(kernel.apply(&add).unwrap_err().code, Code::Exists);
    host.ip(&format!("neigh add proxy 2001:db8::44 dev {name}"));
    let proxy = "2001:db8::44".parse().unwrap();
    kernel.apply(&Op::AddProxy { shim: shim.clone(), address: proxy }).unwrap();
    kernel.drain();
    assert_eq!(kernel.snapshot().proxies.get(&(index, proxy)), Some(&false), "it is not made ours");

    // Deleting asks for our mark.
    let standing = LinkRef::standing(name.clone(), index);
    kernel.apply(&Op::DeleteProxy { link: standing.clone(), address: proxy }).unwrap();
    let address = ip("192.0.2.121");
    kernel.apply(&Op::DeleteNeighbour { link: standing, address }).unwrap();
    let destination = net("192.0.2.120/32");
    let link = LinkRef::standing("eth0", host.parent(&kernel));
    kernel.apply(&Op::DeleteRoute { link: link.clone(), destination, table: TABLE_MAIN, metric: 0 }).unwrap();
    host.ip("rule add lookup 77 pref 71");
    kernel.apply(&Op::DeleteRule { family: Family::V4, priority: 71 }).unwrap();
    let error = kernel.apply(&Op::DeleteShim { link }).unwrap_err();
    assert_eq!(error.code, Code::Exists);
    kernel.drain();
    assert_truth(&mut kernel);
    let snapshot = kernel.snapshot();
    assert!(snapshot.proxies.contains_key(&(index, proxy)));
    assert!(snapshot.neighbours.contains_key(&(address, index)));
    assert!(snapshot.routes.keys().any(|key| key.destination == destination));
    assert!(snapshot.rules.iter().any(|rule| rule.priority == 71));
    assert!(snapshot.link_named("eth0").is_some());
}

/// Of any kind (fail2ban makes such routes), whether the snapshot has it or not, but only in the place of
/// ours.
#[test]
fn a_foreign_route_in_our_place_is_seen_and_left_alone() {
    let (host, mut kernel, shim) = Host::with_shim();
    let set = |to: &str, table| Op::SetRoute {
        shim: shim.clone(),
        destination: net(to),
        source: None,
        table,
        replace: false,
    };
    for kind in ["blackhole", "unreachable", "prohibit", "throw", "local"] {
        let dev = if kind == "local" { " dev lo" } else { "" };
        for table in [TABLE_MAIN, TABLE] {
            for to in ["192.0.2.140/32", "2001:db8::140/128"] {
                host.ip(&format!("route add {kind} {to}{dev} table {table}"));
                kernel.drain();
                let foreign = |kernel: &Kernel| {
                    let mut routes = kernel.snapshot().routes.iter();
                    let at = |key: &RouteKey| (key.destination, key.table) == (net(to), table);
                    routes.any(|(key, route)| at(key) && !route.ours)
                };
                assert!(foreign(&kernel), "{kind} {to} in {table}");
                let error = kernel.apply(&set(to, table)).unwrap_err();
                assert_eq!(error.code, Code::Exists, "{error:?}");
                kernel.resync_host();
                kernel.drain();
                assert!(foreign(&kernel), "{kind} {to} in {table} was replaced");
                // As the problem's hint says.
                host.ip(&format!("route del {to} table {table}"));
                assert_truth(&mut kernel);
                kernel.apply(&set(to, table)).unwrap();
                // Another route takes our place by force.
                host.ip(&format!("route replace {kind} {to}{dev} table {table}"));
                assert_truth(&mut kernel);
                assert!(foreign(&kernel), "{kind} {to} in {table}");
                host.ip(&format!("route del {kind} {to} table {table}"));
            }
        }
    }
    // A range that leads elsewhere is not in the snapshot.
    host.ip("route add 203.0.113.128/27 via 192.0.2.254");
    assert_eq!(kernel.apply(&set("203.0.113.128/27", TABLE_MAIN)).unwrap_err().code, Code::Exists);
    // networkd gives IPv4 routes the metric that the kernel gives to IPv6 routes.
    host.ip("route add 192.0.2.141/32 dev eth0 metric 1024");
    host.ip("addr add 192.0.2.3/24 dev eth0");
    kernel.apply(&set("192.0.2.141/32", TABLE_MAIN)).unwrap();
    let Op::SetRoute { shim, destination, table, replace, .. } = set("192.0.2.141/32", TABLE_MAIN) else {
        unreachable!()
    };
    let source = Some(ip("192.0.2.3"));
    kernel.apply(&Op::SetRoute { shim, destination, source, table, replace }).unwrap();
    assert_truth(&mut kernel);
    let both = kernel.snapshot().routes.iter().filter(|(key, _)| key.destination == destination);
    assert_eq!(
        both.map(|(key, route)| (key.metric, route.ours)).collect::<Vec<_>>(),
        [(0, true), (1024, false)]
    );
}

#[test]
fn a_shim_that_was_made_again_is_not_mistaken_for_another() {
    let (host, mut kernel, shim) = Host::with_shim();
    // Within one plan, and between two.
    host.ip("link del mvs-eth0");
    host.make(&mut kernel, &shim);
    kernel.drain();
    host.ip("link del mvs-eth0");
    host.ip("link add mvs-eth0 link eth0 type macvlan mode bridge");
    let stranger = Op::SetUp { shim: shim.clone() };
    assert_eq!(kernel.apply(&stranger).unwrap_err().code, Code::NameTaken);
    host.ip("link del mvs-eth0");
    host.make(&mut kernel, &shim);
    kernel.drain();
    assert_truth(&mut kernel);
}

#[test]
fn failures_name_their_cause() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (parent, shim) = (host.parent(&kernel), host.shim_ref());
    let create = |parent, mac, mtu| Op::CreateShim {
        shim: shim.clone(),
        parent: LinkRef::standing("eth0", parent),
        mac,
        mtu,
    };
    host.ip(&format!("link add {} type bridge", shim.name));
    let error = kernel.apply(&create(parent, SHIM_MAC, 1500)).unwrap_err();
    assert_eq!(error.code, Code::NameTaken, "{error:?}");
    assert!(error.message.contains(shim.name.as_str()) && error.hint.is_some());
    assert_eq!(kernel.apply(&Op::SetUp { shim: shim.clone() }).unwrap_err().code, Code::NameTaken);
    host.ip(&format!("link del {}", shim.name));

    assert_eq!(kernel.apply(&create(parent, SHIM_MAC, 9000)).unwrap_err().code, Code::ParentBusy);
    host.ip("link add br0 type bridge");
    host.ip("link set eth0 master br0");
    let error = kernel.apply(&create(parent, SHIM_MAC, 1500)).unwrap_err();
    assert_eq!(error.code, Code::ParentBusy, "{error:?}");
    host.ip("link set eth0 nomaster");
    assert!(kernel.apply(&create(LinkIndex(9999), SHIM_MAC, 1500)).unwrap_err().hint.is_some());

    // A guest may take the shim's MAC. Then the shim cannot go up.
    let guest = host.guest_with_child("eth0", "02:4d:53:00:00:01");
    guest.ip("link set eth0 up");
    kernel.apply(&create(parent, SHIM_MAC, 1500)).unwrap();
    let error = kernel.apply(&Op::SetUp { shim: shim.clone() }).unwrap_err();
    assert_eq!(error.code, Code::MacTaken, "{error:?}");

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
}

#[test]
fn a_link_that_is_gone_is_told_from_one_that_lacks_something() {
    let (host, mut kernel, shim) = Host::with_shim();
    let index = kernel.snapshot().links.iter().find(|(_, link)| link.name == shim.name).map(|(at, _)| *at);
    let shim = LinkRef { index, ..shim };
    let destination = net("2001:db8::101/128");
    let route =
        Op::SetRoute { shim: shim.clone(), destination, source: None, table: TABLE_MAIN, replace: false };
    host.ip("link set mvs-eth0 mtu 1200"); // too little for IPv6
    let error = kernel.apply(&route).unwrap_err();
    assert_eq!(error.code, Code::KernelRefused, "{error:?}");
    assert!(error.message.contains("No such device"), "{error:?}");

    host.ip("link del mvs-eth0");
    let by_name = LinkRef { index: None, ..shim.clone() };
    let set = |shim| Op::Set { shim, setting: Setting::ArpFilter, value: 1 };
    for op in [route, set(shim.clone()), set(by_name), Op::SetUp { shim }] {
        let error = kernel.apply(&op).unwrap_err();
        assert_eq!(error.code, Code::LinkGone, "{error:?}");
    }
}

#[test]
fn a_free_address_gets_no_answer() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let link = host.parent(&kernel);
    for address in [ip("192.0.2.51"), ip("2001:db8::51")] {
        let question = Op::Ask { link: LinkRef::standing("eth0", link), address, disputed: false };
        // A second question does not disturb the first.
        apply_twice(&mut kernel, &question);
        eventually(&mut kernel, |snapshot| {
            let entry = snapshot.neighbours.get(&(address, link));
            entry.is_some_and(|entry| entry.state == NeighbourState::Failed && entry.ours)
        });
        kernel.apply(&Op::DeleteNeighbour { link: LinkRef::standing("eth0", link), address }).unwrap();
        kernel.drain();
        assert!(!kernel.snapshot().neighbours.contains_key(&(address, link)));
    }
}

#[test]
fn an_old_holder_is_asked_whether_it_is_still_there() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let (link, address) = (host.parent(&kernel), ip("192.0.2.50"));
    let question = Op::Ask { link: LinkRef::standing("eth0", link), address, disputed: true };
    host.ip("neigh add 192.0.2.50 lladdr 02:00:00:00:00:50 dev eth0 nud stale");
    kernel.apply(&question).unwrap();
    kernel.drain();
    // Everybody is asked, and the knowledge that it was there is kept.
    let entry = kernel.snapshot().neighbours[&(address, link)];
    assert_eq!((entry.state, entry.ours), (NeighbourState::Disputed, true));
    eventually(&mut kernel, |snapshot| {
        snapshot.neighbours.get(&(address, link)).is_some_and(|entry| entry.is_nobodys())
    });
}

/// Even the known machine is asked along with everybody, and its answer counts as one to us.
#[test]
fn a_machine_that_answers_has_an_entry_of_ours_until_that_is_left_to_the_kernel() {
    let host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    let link = host.parent(&kernel);
    let machine = host.guest();
    // Without an address of its own family the kernel sends no question of ours over IPv6.
    host.ip("addr add fe80::1/64 dev eth0 nodad");
    host.ip(&format!("link set lan netns {}", machine.pid()));
    for command in
        ["link set lan up", "addr add 192.0.2.60/24 dev lan", "addr add 2001:db8::60/64 dev lan nodad"]
    {
        machine.ip(command);
    }
    for (address, known) in [("192.0.2.60", "reachable"), ("2001:db8::60", "delay"), ("192.0.2.60", "stale")]
    {
        host.ip(&format!("neigh replace {address} lladdr 02:00:00:00:00:60 dev eth0 nud {known}"));
        let address = ip(address);
        for disputed in [false, true] {
            kernel.apply(&Op::Ask { link: LinkRef::standing("eth0", link), address, disputed }).unwrap();
            eventually(&mut kernel, |snapshot| {
                let entry = snapshot.neighbours.get(&(address, link));
                entry.is_some_and(|entry| entry.state == NeighbourState::Reachable && entry.ours)
            });
            assert_ne!(kernel.snapshot().neighbours[&(address, link)].mac, Some(Mac([2, 0, 0, 0, 0, 0x60])));
        }
        let release = Op::ReleaseNeighbour { link: LinkRef::standing("eth0", link), address };
        apply_twice(&mut kernel, &release);
        kernel.drain();
        let entry = kernel.snapshot().neighbours[&(address, link)];
        assert_eq!((entry.state, entry.ours), (NeighbourState::Stale, false));
    }
    // Over IPv6 the entry of the group is left, which the next decision removes.
    let group = ip("ff02::1:ff00:60");
    assert!(kernel.snapshot().neighbours[&(group, link)].ours);
    kernel.apply(&Op::DeleteNeighbour { link: LinkRef::standing("eth0", link), address: group }).unwrap();
    kernel.drain();
    assert!(!kernel.snapshot().neighbours.contains_key(&(group, link)));
}

fn apply_twice(kernel: &mut Kernel, op: &Op) {
    for _ in 0..2 {
        if let Err(error) = kernel.apply(op) {
            panic!("{op}: {error:?}");
        }
    }
}
