//! The host's objects follow their events, and changes without an event are found nevertheless.

use std::collections::BTreeSet;
use std::time::Duration;

use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::names::TABLE_MAIN;
use macvlan_shim::model::snapshot::Setting;
use macvlan_shim::model::{Changes, LinkRef, Op};

use crate::host::Host;
use crate::look::{PATIENCE, assert_truth, eventually, ip, net, next_changes};

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
    assert_eq!(changes.addresses, BTreeSet::from([ip("192.0.2.60"), ip("192.0.2.254")]));
    assert_eq!(changes.destinations, BTreeSet::from(["0.0.0.0/0", "203.0.113.0/24"].map(net)));
    assert_truth(&mut kernel);

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
    assert_truth(&mut kernel);

    // Older kernels rename only links that are down.
    host.ip("link add spare type bridge");
    host.ip("link set spare name other");
    host.ip("link set other mtu 1400");
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().link_named("other").unwrap().mtu, 1400);
    host.ip("link del eth0");
    assert!(kernel.drain().all);
    assert_truth(&mut kernel);
}

#[test]
fn a_removed_gateway_is_forgotten_soon() {
    let host = Host::new();
    host.ip("route add default via 192.0.2.254");
    let mut kernel = Kernel::open().unwrap();
    host.ip("route del default via 192.0.2.254");
    eventually(&mut kernel, |snapshot| snapshot.routing.gateways().next().is_none());
}

/// Changes that only the kernel's list shows are read again: routes that share one place, and one hop of
/// several.
#[test]
fn routes_in_one_place_are_followed() {
    let host = Host::new();
    host.ip("link add br1 type bridge");
    host.ip("link set br1 addrgenmode none up");
    let mut kernel = Kernel::open().unwrap();
    for line in [
        "route add 203.0.113.0/24 via 192.0.2.254",
        "route append 203.0.113.0/24 via 192.0.2.253",
        "route append 203.0.113.0/24 dev br1",
        "route del 203.0.113.0/24 via 192.0.2.254",
        "route replace 203.0.113.0/24 via 192.0.2.252",
        "route del 203.0.113.0/24",
        "route add 203.0.113.0/24 dev br1 metric 5",
        "route replace 203.0.113.0/24 dev eth0 metric 5",
        "route change 203.0.113.0/24 via 192.0.2.251 metric 5",
        "route replace unreachable 203.0.113.0/24 metric 5",
        "-6 route add fd33::/64 via 2001:db8::fe",
        "-6 route append fd33::/64 via 2001:db8::fd",
        "-6 route append fd33::/64 dev br1",
        "-6 route del fd33::/64 via 2001:db8::fd",
        "-6 route replace fd33::/64 dev eth0",
        "-6 route add fd34::/64 nexthop via 2001:db8::fe nexthop via 2001:db8::fd",
        "-6 route del fd34::/64 via 2001:db8::fd",
        "route add 198.51.100.0/24 dev eth0 tos 0x10",
        "route add 198.51.100.0/24 dev br1",
        "route del 198.51.100.0/24 dev eth0 tos 0x10",
        "route add local 198.51.101.0/24 dev lo",
        "route del local 198.51.101.0/24 dev lo",
        "nexthop add id 7 via 192.0.2.250 dev eth0",
        "route add 198.51.102.0/24 nhid 7",
        "nexthop replace id 7 dev br1",
        "nexthop del id 7",
        "link add mv1 link br1 type macvlan mode bridge",
        "link set mv1 addrgenmode none up",
        "addr add fd35::1/64 dev mv1 nodad",
        "route add 198.51.103.0/24 nexthop via 192.0.2.250 dev eth0 nexthop via 192.0.2.249 dev mv1 onlink",
        "-6 route add fd36::/64 nexthop via 2001:db8::fe dev eth0 nexthop via fd35::fe dev mv1",
        "link del mv1",
        "link set br1 down",
        "rule add lookup 100 pref 60",
        "rule add to 203.0.113.0/24 lookup 101 pref 60",
        "rule add not fwmark 7 lookup 102 pref 60",
        "rule del to 203.0.113.0/24 lookup 101 pref 60",
    ] {
        host.ip(line);
        assert_truth(&mut kernel);
    }
}

#[test]
fn routes_that_go_with_a_link_or_an_address_are_noticed() {
    let (host, mut kernel, shim) = Host::with_shim();
    kernel.drain();
    let count = |kernel: &Kernel| kernel.snapshot().routes.values().filter(|route| route.ours).count();
    assert_eq!(count(&kernel), 3);

    host.ip(&format!("link set {} down", shim.name));
    host.ip(&format!("link set {} up", shim.name));
    assert!(kernel.drain().all);
    assert_eq!(count(&kernel), 0);
    assert!(kernel.snapshot().proxies.is_empty());
    assert_truth(&mut kernel);

    host.make(&mut kernel, &shim);
    kernel.drain();
    assert_eq!(count(&kernel), 3);
    host.ip("addr del 192.0.2.1/24 dev eth0");
    kernel.drain();
    assert_truth(&mut kernel);
    assert_eq!(count(&kernel), 2, "the one with the address as its source is gone");
    host.ip("addr del 2001:db8::1/64 dev eth0");
    kernel.drain();
    assert_truth(&mut kernel);

    host.ip("link del eth0");
    kernel.drain();
    assert_truth(&mut kernel);
    assert_eq!((count(&kernel), kernel.snapshot().shims().count()), (0, 0));
}

/// A state that is unchanged since before our write does not have our write in it.
#[test]
fn a_write_that_is_undone_before_it_is_read_again_is_noticed() {
    let (host, mut kernel, shim) = Host::with_shim();
    assert!(kernel.drain().all);
    assert_eq!(kernel.drain(), Changes::default());
    kernel.apply(&Op::Set { shim: shim.clone(), setting: Setting::AcceptRedirects, value: 0 }).unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/mvs-eth0/accept_redirects", "1").unwrap();
    assert!(kernel.drain().all);
    kernel.apply(&Op::AddProxy { shim, address: "2001:db8::2".parse().unwrap() }).unwrap();
    host.ip("neigh del proxy 2001:db8::2 dev mvs-eth0");
    assert!(kernel.drain().all);
    assert_truth(&mut kernel);
}

/// Below 1280 IPv6 is taken from a link, and then starts again with none of our settings.
#[test]
fn an_address_that_the_kernel_gives_a_shim_is_ours() {
    let (host, mut kernel, shim) = Host::with_shim();
    kernel.drain();
    let index = kernel.snapshot().link_named(&shim.name).unwrap().index;
    host.ip("link set eth0 mtu 1200");
    kernel.drain();
    host.ip("link set eth0 mtu 1500");
    host.ip("link set mvs-eth0 mtu 1500");
    kernel.drain();
    let snapshot = kernel.snapshot();
    let its = snapshot.addresses.iter().filter(|(key, _)| net("fe80::/10").contains(&key.address));
    let its: Vec<_> = its.map(|(key, value)| (key.link, key.address, value.ours)).collect();
    let [(link, address, true)] = its[..] else { panic!("{its:?}") };
    assert_eq!(link, index);
    assert_truth(&mut kernel);
    kernel.apply(&Op::DeleteAddress { link: LinkRef::standing(shim.name, link), address }).unwrap();
    eventually(&mut kernel, |snapshot| !snapshot.addresses.keys().any(|key| key.address == address));
    assert_truth(&mut kernel);
}

#[test]
fn a_setting_that_another_changes_is_noticed() {
    let (_host, mut kernel, shim) = Host::with_shim();
    kernel.drain();
    let index = kernel.snapshot().link_named(&shim.name).unwrap().index;
    assert_eq!(kernel.snapshot().settings[&index][&Setting::Ipv6Forwarding], 1);
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0").unwrap();
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().settings[&index][&Setting::Ipv6Forwarding], 0);
    // Only the loss of the proxy entries shows this one, and on older kernels nothing does.
    std::fs::write("/proc/sys/net/ipv6/conf/mvs-eth0/disable_ipv6", "1").unwrap();
    kernel.drain();
    if kernel.snapshot().settings[&index][&Setting::Ipv6Disable] == 0 {
        kernel.resync_host();
        assert!(kernel.drain().all);
    }
    assert_eq!(kernel.snapshot().settings[&index][&Setting::Ipv6Disable], 1);
    assert_truth(&mut kernel);
    // Nothing shows this one except an op that fails.
    std::fs::write("/proc/sys/net/ipv4/conf/mvs-eth0/arp_filter", "0").unwrap();
    let route = Op::SetRoute {
        shim: LinkRef { index: Some(index), ..shim },
        destination: net("192.0.2.130/32"),
        source: Some(ip("192.0.2.99")),
        table: TABLE_MAIN,
        replace: false,
    };
    kernel.apply(&route).unwrap_err();
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().settings[&index][&Setting::ArpFilter], 0);
}

#[test]
fn a_resync_finds_changes_without_an_event() {
    let _host = Host::new();
    let mut kernel = Kernel::open().unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").unwrap();
    kernel.drain();
    assert_eq!(kernel.snapshot().host.arp_ignore, 0);
    kernel.resync();
    assert!(kernel.drain().all);
    assert_eq!(kernel.snapshot().host.arp_ignore, 1);
    kernel.resync();
    assert_eq!(kernel.drain(), Changes::default());
    assert_truth(&mut kernel);
}

#[test]
fn a_proxy_entry_that_another_deletes_is_missed_at_the_next_resync_if_no_event_tells() {
    let (host, mut kernel, _) = Host::with_shim();
    kernel.drain();
    assert_eq!(kernel.snapshot().proxies.len(), 1);
    host.ip("neigh del proxy 2001:db8::1 dev mvs-eth0");
    let told = kernel.drain().all;
    println!("the kernel {} a deleted proxy entry", if told { "reports" } else { "does not report" });
    kernel.resync();
    kernel.drain();
    assert!(kernel.snapshot().proxies.is_empty());
    assert_truth(&mut kernel);
}

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
    assert_truth(&mut kernel);
    let many = kernel.snapshot().routes.keys().filter(|key| key.destination.prefix_len() == 32).count();
    assert_eq!(many, 40_000);
    let tally = kernel.tally();
    assert!(tally.events > 1000 && tally.overruns >= 1, "{tally:?}");
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
            tokio::time::timeout(PATIENCE, kernel.changed()).await.unwrap().unwrap();
            assert_eq!(next_changes(&mut kernel).children.len(), 1);
            host.ip(&format!("route add 203.0.113.{round}/32 dev eth0"));
            tokio::time::timeout(PATIENCE, kernel.changed()).await.unwrap().unwrap();
            let changes = kernel.drain();
            assert!(!changes.all && changes.destinations.contains(&net(&format!("203.0.113.{round}/32"))));
            let tally = kernel.tally();
            assert!(tally.events >= 2 * (round + 1) && tally.overruns == 0, "{tally:?}");
        }
    });
}
