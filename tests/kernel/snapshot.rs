//! The snapshot of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::names::TABLE_MAIN;
use macvlan_shim::model::snapshot::{LinkKind, Neighbour, NeighbourState, Rule};
use macvlan_shim::model::{Family, LinkIndex, Mac};

use crate::host::Host;
use crate::look::{ip, net};

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
    assert!(eth0.up && eth0.multicast && eth0.arp && eth0.mtu == 1500 && !eth0.wireless);
    assert_eq!(eth0.kind, LinkKind::Other("veth".into()));
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
    let hops = ["192.0.2.252", "192.0.2.253", "192.0.2.254", "2001:db8::fe"];
    let hops: BTreeSet<(IpAddr, LinkIndex)> = hops.into_iter().map(|hop| (ip(hop), eth0.index)).collect();
    assert_eq!(snapshot.routing.gateways().collect::<BTreeSet<_>>(), hops);
    let networks: Vec<IpNet> = snapshot.routing.networks(eth0.index).collect();
    assert_eq!(networks, ["192.0.2.0/24", "203.0.113.0/24", "2001:db8::/64"].map(net));

    assert!(snapshot.rules.contains(&Rule { narrow: true, ..Rule::look_up(Family::V4, 50, 100) }));
    assert!(snapshot.rules.contains(&Rule::look_up(Family::V6, 32766, TABLE_MAIN)));
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
    let snapshot = kernel.snapshot();
    let eth0 = snapshot.link_named("eth0").unwrap().index;
    assert_eq!(snapshot.routing.links_to_gateway(ip("192.0.2.250")).collect::<Vec<_>>(), [eth0]);
    let on_link = snapshot.routing.networks(eth0).any(|network| network == net("198.51.100.0/24"));
    assert!(!on_link, "a hidden gateway is no on-link range");
}

#[test]
fn the_network_of_a_peer_is_on_the_link() {
    let host = Host::new();
    host.ip("addr add 10.1.1.1 peer 10.2.2.2/24 dev eth0");
    let kernel = Kernel::open().unwrap();
    let snapshot = kernel.snapshot();
    let (key, value) = snapshot.addresses.iter().find(|(key, _)| key.address == net("10.1.1.1/24")).unwrap();
    assert_eq!(key.network(value), net("10.2.2.0/24"));
    assert!(snapshot.routing.networks(key.link).any(|network| network == net("10.2.2.0/24")));
}
