//! The filter: the LAN never sees the shim, and reaches nothing through it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Guest, Kind, Machine, eventually};
use serde_json::{Value, json};

use crate::nft::Nft;
use crate::node::{BINARY, HOST, HOST_V6, Node, PATIENCE, Site, ours};

const GUEST: &str = "192.168.77.101";
const GUEST_V6: &str = "fd77::101";

fn shim_mac(host: &Machine) -> Result<String> {
    Ok(host.sh("cat /sys/class/net/mvs-eth0/address")?.trim().to_owned())
}

fn ruleset(host: &Machine) -> Result<String> {
    host.sh("nft --stateless list ruleset netdev")
}

/// Waits until the filters are as expected. The daemon goes on while nft is still working.
fn wait_ruleset(host: &Machine, expected: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
    eventually(PATIENCE, || {
        let ruleset = ruleset(host)?;
        ensure!(holds(&ruleset), "not {expected}: {ruleset}");
        Ok(())
    })
}

#[test]
fn no_frame_on_the_lan_carries_the_shims_mac() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let capture = site.lan.capture("")?;
    let node = Node::start(&site.host)?;
    // It appears, is talked to, is asked for, and goes.
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, GUEST_V6.parse::<IpAddr>()?, HOST_V6)?;
    let mac = shim_mac(&site.host)?;
    for address in [GUEST, HOST] {
        site.peer.sh(&format!("arping -D -c 2 -w 3 -I eth0 {address} || true"))?;
    }
    site.peer.sh("ip neigh flush all; ip -6 neigh flush all")?;
    guest.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
    for address in [GUEST, HOST, GUEST_V6, HOST_V6] {
        ensure!(site.peer.pings(address.parse::<IpAddr>()?), "the peer lost {address}");
    }
    guest.sh("ip addr add 192.168.77.102/24 dev eth0; ip addr add fd77::102/64 dev eth0")?;
    node.wait_address(&guest, "fd77::102".parse::<IpAddr>()?, "routed")?;
    let second = site.server.launch("c2", &["-p", "mv"])?;
    node.wait_nic(&second, "eth0", "reachable")?;
    second.delete()?;
    guest.stop()?;
    node.wait("the shim goes with its last guest", |status| status["shims"] == serde_json::json!([]))?;
    wait_ruleset(&site.host, "without our table", |ruleset| !ruleset.contains("macvlan_shim"))?;

    let frames = capture.stop()?;
    ensure!(frames.iter().any(|frame| frame.contains("192.168.77.101")), "nothing was captured");
    let seen: Vec<_> = frames.iter().filter(|frame| frame.contains(&mac)).collect();
    ensure!(seen.is_empty(), "the LAN saw {mac}: {seen:#?}");
    Ok(())
}

#[test]
fn frames_to_the_shims_mac_reach_nothing() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, GUEST_V6.parse::<IpAddr>()?, HOST_V6)?;
    let mac = shim_mac(&site.host)?;
    // Worst case for IPv4: only the filter is in the way.
    site.host.sh("for f in all mvs-eth0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")?;
    for address in [HOST, HOST_V6] {
        let set = |mac: &str| format!("ip neigh replace {address} lladdr {mac} dev eth0 nud permanent");
        site.peer.sh(&set(&mac))?;
        ensure!(!site.peer.pings(address.parse::<IpAddr>()?), "{address} answers at the shim's MAC");
        site.peer.sh(&format!("ip neigh del {address} dev eth0"))?;
        ensure!(site.peer.pings(address.parse::<IpAddr>()?), "{address} does not answer at all");
    }
    Ok(())
}

#[test]
fn a_broadcast_of_the_lan_reaches_a_socket_of_the_host_once() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    // The sysctl that would have the same effect is out of the way.
    site.host.sh("for f in all mvs-eth0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")?;
    let socket = site.host.within(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5000))?))?;
    site.peer.within(|| {
        let sender = UdpSocket::bind(("192.168.77.12", 0))?;
        sender.set_broadcast(true)?;
        sender.send_to(b"to all", ("192.168.77.255", 5000))?;
        Ok(())
    })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 16];
    socket.recv(&mut buffer)?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    ensure!(socket.recv(&mut buffer).is_err(), "it came twice");
    Ok(())
}

#[test]
fn a_filter_that_is_flushed_or_changed_is_restored() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    site.host.sh("nft add table netdev foreign")?;
    let whole = ruleset(&site.host)?;
    ensure!(whole.contains("guests-"), "no filter: {whole}");
    let link = site.host.sh("cat /sys/class/net/mvs-eth0/ifindex")?.trim().to_owned();
    for damage in [
        "delete table netdev macvlan_shim".to_owned(),
        format!("flush chain netdev macvlan_shim in-{link}"),
        format!("flush set netdev macvlan_shim guests-{link}"),
        format!("add element netdev macvlan_shim guests-{link} {{ 02:00:00:00:00:99 }}"),
        format!("add rule netdev macvlan_shim in-{link} accept"),
        "add chain netdev macvlan_shim foo { type filter hook ingress device mvs-eth0 priority 0; policy drop; }"
            .to_owned(),
    ] {
        site.host.sh(&format!("nft '{damage}'"))?;
        eventually(PATIENCE, || {
            let now = ruleset(&site.host)?;
            let same = sorted(&now) == sorted(&whole);
            ensure!(same, "after {damage}: {now}");
            Ok(())
        })?;
    }
    site.host.sh("nft flush ruleset")?;
    wait_ruleset(&site.host, "a filter after flush ruleset", |ruleset| ruleset.contains("guests-"))?;
    ensure!(site.host.pings(GUEST.parse::<IpAddr>()?), "the guest is lost");
    Ok(())
}

/// Tables are listed in the order of their creation.
fn sorted(ruleset: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = ruleset.lines().collect();
    lines.sort_unstable();
    lines
}

/// Waits until a problem says that an address is not filtered, and returns its reason.
fn wait_filtered(node: &Node, guest: &Guest, address: [u8; 4]) -> Result<String> {
    eventually(PATIENCE, || {
        let status = node.wait_address(guest, address, "failed")?;
        ensure!(status["reason"] == "filtered", "{status:#}");
        Ok(status["message"].to_string())
    })
}

fn has_problem(status: &Value, code: &str) -> bool {
    status["problems"].as_array().is_some_and(|problems| problems.iter().any(|it| it["code"] == code))
}

#[test]
fn a_guest_that_comes_while_nft_fails_is_let_through_once_nft_works() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    let node = nft.start()?;
    let first = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&first, GUEST.parse::<IpAddr>()?, HOST)?;
    nft.mood("echo 'netlink: Error: cache initialization failed: Cannot allocate memory' >&2; exit 1")?;
    let second = site.launch_static("c2", &["192.168.77.102/24"])?;
    let status = node.wait("that the filters are not read", |status| has_problem(status, "kernel-unread"))?;
    ensure!(status["problems"].to_string().contains("Cannot allocate memory"), "{status:#}");
    ensure!(!has_problem(&status, "filter-missing"), "{status:#}");
    let why = wait_filtered(&node, &second, [192, 168, 77, 102])?;
    ensure!(why.contains("mvs-eth0"), "{why}");
    node.wait_address(&first, [192, 168, 77, 101], "routed")?;
    ensure!(site.host.pings([192, 168, 77, 101]), "the first guest is lost");
    nft.mood("")?;
    let start = Instant::now();
    node.wait("nothing is wrong any more", |status| status["problems"] == json!([]))?;
    node.wait_both_ways(&second, [192, 168, 77, 102], HOST)?;
    println!("well again {} ms after nft", start.elapsed().as_millis());
    Ok(())
}

#[test]
fn an_nft_that_hangs_delays_nothing_else() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    let node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    let calls = format!("{}/calls", Nft::FOLDER);
    nft.mood(&format!("echo >> {calls}; exec /bin/sleep 100"))?;
    let second = site.launch_static("c2", &["192.168.77.102/24"])?;
    node.wait_address(&second, [192, 168, 77, 102], "failed")?;
    // Meanwhile the daemon does everything that it can do without nft.
    let (mut slowest, start) = (Duration::ZERO, Instant::now());
    for number in 0_u32.. {
        if start.elapsed() > Duration::from_secs(15) {
            break;
        }
        let asked = Instant::now();
        let verb = if number % 2 == 0 { "add" } else { "del" };
        guest.sh(&format!("ip addr {verb} 192.168.77.103/24 dev eth0"))?;
        match verb {
            "add" => drop(node.wait_address(&guest, [192, 168, 77, 103], "routed")?),
            _ => node.wait_gone([192, 168, 77, 103])?,
        }
        slowest = slowest.max(asked.elapsed());
    }
    // A call hangs for two seconds before it is killed.
    ensure!(slowest < Duration::from_secs(1), "a route, or an answer of the daemon, took {slowest:?}");
    let calls = site.host.sh(&format!("wc -l < {calls}"))?;
    let (lasted, calls) = (start.elapsed(), calls.trim().parse::<u64>()?);
    println!("in {lasted:?} {calls} calls of nft, the slowest route {slowest:?}");
    ensure!(calls <= 1 + lasted.as_secs() / 3, "nft was called {calls} times in {lasted:?}");
    nft.mood("")?;
    node.wait("nothing is wrong any more", |status| status["problems"] == json!([]))?;
    node.wait_both_ways(&second, [192, 168, 77, 102], HOST)
}

#[test]
fn the_daemon_does_without_a_missing_kernel_feature_until_it_is_there() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    let refusal = "internal:0:0-0: Error: Could not process rule: Operation not supported";
    nft.mood(&format!(
        "input=$(/bin/cat)
         if [[ $input == *'\"hook\":\"egress\"'* ]]; then echo '{refusal}' >&2; exit 1; fi
         exec /usr/sbin/nft \"$@\" <<<\"$input\""
    ))?;
    let mut node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    let status = node.wait("that something is lacking", |status| has_problem(status, "filter-partial"))?;
    ensure!(status["problems"].to_string().contains("egress"), "{status:#}");
    wait_ruleset(&site.host, "all but egress", |ruleset| {
        ruleset.contains("guests-") && ruleset.contains("fib") && !ruleset.contains("egress")
    })?;
    nft.mood("")?;
    node.daemon.signal("HUP")?;
    node.wait("nothing is lacking any more", |status| status["problems"] == json!([]))?;
    wait_ruleset(&site.host, "whole", |ruleset| ruleset.contains("egress"))?;
    ensure!(site.host.pings(GUEST.parse::<IpAddr>()?), "the guest is lost");
    Ok(())
}

#[test]
fn a_kernel_that_is_busy_lacks_nothing() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    let node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    let refusal = "internal:0:0-0: Error: Could not process rule: Device or resource busy";
    nft.mood(&format!("if [ \"$2\" != list ]; then echo '{refusal}' >&2; exit 1; fi"))?;
    site.host.sh("nft delete table netdev macvlan_shim")?;
    let status = node.wait("that it fails", |status| status["problems"].to_string().contains("busy"))?;
    ensure!(!has_problem(&status, "filter-partial"), "{status:#}");
    node.wait_address(&guest, GUEST.parse::<IpAddr>()?, "routed")?;
    nft.mood("")?;
    node.wait("nothing is wrong any more", |status| status["problems"] == json!([]))?;
    wait_ruleset(&site.host, "whole", |ruleset| ruleset.contains("egress") && ruleset.contains("fib"))
}

#[test]
fn the_daemon_starts_while_nft_fails() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    nft.mood("echo 'netlink: Error: cache initialization failed: Cannot allocate memory' >&2; exit 1")?;
    let node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    nft.mood("")?;
    node.wait("nothing is wrong any more", |status| status["problems"] == json!([]))?;
    wait_ruleset(&site.host, "a filter", |ruleset| ruleset.contains("guests-"))
}

#[test]
fn a_guest_that_comes_after_nft_was_removed_is_not_called_routed() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    let node = nft.start()?;
    let first = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&first, GUEST.parse::<IpAddr>()?, HOST)?;
    nft.remove()?;
    let second = site.launch_static("c2", &["192.168.77.102/24"])?;
    let why = wait_filtered(&node, &second, [192, 168, 77, 102])?;
    ensure!(why.contains("nft is not installed"), "{why}");
    ensure!(!site.host.pings([192, 168, 77, 102]), "it is not filtered at all");
    node.wait("that nft is missing", |status| has_problem(status, "filter-missing"))?;
    node.wait_address(&first, [192, 168, 77, 101], "routed")?;
    Ok(())
}

#[test]
fn an_nft_that_is_installed_later_is_found_within_a_minute_and_at_once_by_a_reload() -> Result<()> {
    for reload in [false, true] {
        let site = Site::new(Kind::Lxd)?;
        let nft = Nft::install(&site.host)?;
        nft.remove()?;
        let mut node = nft.start()?;
        let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
        node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
        node.wait("that nft is missing", |status| has_problem(status, "filter-missing"))?;
        Nft::install(&site.host)?;
        let start = Instant::now();
        if reload {
            node.daemon.signal("HUP")?;
        }
        eventually(if reload { PATIENCE } else { Duration::from_secs(60) }, || {
            let status = node.status()?;
            ensure!(status["problems"] == json!([]), "{status:#}");
            Ok(())
        })?;
        wait_ruleset(&site.host, "a filter", |ruleset| ruleset.contains("guests-"))?;
        println!("reload: {reload}, a filter after {:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn cleanup_says_when_it_cannot_see_whether_a_filter_is_left() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let nft = Nft::install(&site.host)?;
    let mut node = nft.start()?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.daemon.stop()?;
    let cleanup = format!("PATH={} {BINARY} cleanup 2>&1 || echo failed with $?", Nft::FOLDER);
    nft.mood("echo 'netlink: Error: cache initialization failed: Cannot allocate memory' >&2; exit 1")?;
    // The first run removes everything that it can.
    for _ in 0..2 {
        let said = site.host.sh(&cleanup)?;
        ensure!(said.contains("Cannot allocate memory") && said.ends_with("failed with 1\n"), "{said}");
        ensure!(!said.contains("nothing of macvlan-shim is left"), "{said}");
    }
    ensure!(ours(&site.host)?.is_empty(), "{}", ours(&site.host)?);
    ensure!(ruleset(&site.host)?.contains("macvlan_shim"), "the filter is gone");
    nft.mood("")?;
    let said = site.host.sh(&cleanup)?;
    ensure!(!said.contains("failed"), "{said}");
    ensure!(!ruleset(&site.host)?.contains("macvlan_shim"), "the filter stays: {}", ruleset(&site.host)?);
    let said = site.host.sh(&cleanup)?;
    ensure!(said.starts_with("nothing of macvlan-shim is left"), "{said}");
    nft.remove()?;
    let said = site.host.sh(&cleanup)?;
    ensure!(said.starts_with("nothing of macvlan-shim is left"), "{said}");
    Ok(())
}

#[test]
fn without_nft_guests_are_reached_and_a_problem_names_the_loss() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let daemon = site.host.spawn(&["env", "PATH=/nowhere", BINARY, "run"])?;
    let node = Node { host: site.host.clone(), daemon };
    node.wait("the daemon is ready", |status| status["ready"] == true)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, GUEST_V6.parse::<IpAddr>()?, HOST_V6)?;
    let status = node.status()?;
    let problem = &status["problems"][0];
    ensure!(problem["code"] == "filter-missing", "{status:#}");
    let message = problem["message"].as_str().unwrap_or_default();
    ensure!(message.contains("nft is not installed") && message.contains("not served"), "{problem}");
    ensure!(!ruleset(&site.host)?.contains("macvlan_shim"), "there is a filter");
    Ok(())
}
