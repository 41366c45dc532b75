//! A guest that takes the address of a machine on the LAN does not get the host's traffic for it, even if the
//! host has never heard of that machine.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use lab::{Guest, Kind, eventually};

use crate::node::{HOST, HOST_V6, Node, PATIENCE, Site, routes, stood};
use crate::storms::{LOST, time_to_route};

const GUEST: &str = "192.168.77.101";
const GUEST_V6: &str = "fd77::101";
/// The addresses of the other machine, which the host knows nothing about.
const PEER: &str = "192.168.77.12";
const PEER_V6: &str = "fd77::12";

/// A site where the host has not yet talked to the peer, and a guest that takes any address.
fn site(config: &str) -> Result<(Site, Node, Guest)> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start_with(&site.host, config)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, GUEST_V6.parse::<IpAddr>()?, HOST_V6)?;
    // It does not even ask itself.
    guest.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad")?;
    site.host.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
    Ok((site, node, guest))
}

fn is_routed(site: &Site, address: &str) -> Result<bool> {
    Ok(routes(&site.host)?.iter().any(|route| route.starts_with(&format!("{address} "))))
}

#[test]
fn an_address_of_a_machine_that_the_host_has_never_heard_of_is_withdrawn() -> Result<()> {
    let (site, node, guest) = site("")?;
    let watch = site.host.monitor(&["ip", "-ts", "monitor", "route"])?;
    for (taken, address) in [("192.168.77.12/24", PEER), ("fd77::12/64", PEER_V6)] {
        guest.sh(&format!("ip addr add {taken} dev eth0"))?;
        let entry = node.wait_address(&guest, address.parse::<IpAddr>()?, "refused")?;
        ensure!(entry["reason"] == "held-on-lan" || entry["reason"] == "asking", "{entry:#}");
        ensure!(
            node.wait_address(&guest, GUEST.parse::<IpAddr>()?, "routed").is_ok(),
            "its own is not routed"
        );
    }
    // The first one was routed until the answer came. The second one never was, because the NIC was
    // distrusted by then.
    let stood = stood(&watch, PEER)?;
    println!("the host had a route to the guest for {stood:.1} ms");
    ensure!(!watch.output().iter().any(|line| line.contains(PEER_V6)), "{:#?}", watch.output());
    for address in [PEER, PEER_V6] {
        ensure!(site.host.reaches(address.parse::<IpAddr>()?, PATIENCE), "the host lost {address}");
        let entry = node.wait_address(&guest, address.parse::<IpAddr>()?, "refused")?;
        ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
    }
    // It still gets a free address, once nobody has answered.
    guest.sh("ip addr add 192.168.77.103/24 dev eth0")?;
    let entry = node.wait_address(&guest, "192.168.77.103".parse::<IpAddr>()?, "refused")?;
    ensure!(entry["reason"] == "asking", "{entry:#}");
    node.wait_both_ways(&guest, "192.168.77.103".parse::<IpAddr>()?, HOST)?;
    eventually(PATIENCE, || {
        let left = site.host.sh("ip neigh show dev eth0 nud failed")?;
        ensure!(!left.contains("192.168.77.10"), "questions are left over: {left}");
        Ok(())
    })
}

#[test]
fn a_service_address_that_moves_to_another_machine_is_released_and_comes_back() -> Result<()> {
    let (site, node, guest) = site("")?;
    let service: IpAddr = "192.168.77.110".parse()?;
    guest.sh("ip addr add 192.168.77.110/24 dev eth0")?;
    node.wait_both_ways(&guest, service, HOST)?;
    // The host learns of the new holder when the holder talks to it.
    site.peer
        .sh("ip addr add 192.168.77.110/24 dev eth0; ping -c1 -W1 -I 192.168.77.110 192.168.77.11 || true")?;
    node.wait_address(&guest, service, "refused")?;
    ensure!(!is_routed(&site, "192.168.77.110")?);
    ensure!(site.host.reaches(service, PATIENCE), "the host does not reach the new holder");
    // And back, once nobody answers any more.
    site.peer.sh("ip addr del 192.168.77.110/24 dev eth0")?;
    site.host.sh("ip neigh change 192.168.77.110 dev eth0 nud stale")?;
    node.wait_both_ways(&guest, service, HOST)
}

#[test]
fn under_a_strict_probe_no_route_comes_before_the_lan_was_asked() -> Result<()> {
    let (site, node, guest) = site("[policy]\nprobe = \"strict\"\n")?;
    let watch = site.host.monitor(&["ip", "-ts", "monitor", "route"])?;
    guest.sh("ip addr add 192.168.77.12/24 dev eth0; ip addr add fd77::12/64 dev eth0")?;
    for address in [PEER, PEER_V6] {
        eventually(PATIENCE, || {
            let entry = node.wait_address(&guest, address.parse::<IpAddr>()?, "refused")?;
            ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
            Ok(())
        })?;
        ensure!(!watch.output().iter().any(|line| line.contains(address)), "{:#?}", watch.output());
    }
    // Existing routes are not asked about again when the daemon restarts.
    let Node { mut daemon, .. } = node;
    daemon.stop()?;
    let node = Node::start(&site.host)?;
    node.wait_address(&guest, GUEST.parse::<IpAddr>()?, "routed")?;
    node.wait_well(PATIENCE)?;
    let flaps = watch.output().into_iter().filter(|line| line.contains(GUEST));
    ensure!(flaps.clone().count() == 0, "{:#?}", flaps.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_question_comes_from_the_hosts_own_address_and_mac() -> Result<()> {
    let (site, _node, guest) = site("")?;
    let capture = site.lan.capture("arp or icmp6")?;
    guest.sh("ip addr add 192.168.77.120/24 dev eth0; ip addr add fd77::120/64 dev eth0")?;
    let mac = site.host.sh("cat /sys/class/net/eth0/address")?;
    let line = capture.wait_line("who-has 192.168.77.120 tell 192.168.77.11", PATIENCE)?;
    ensure!(line.contains(mac.trim()), "{line}");
    let line = capture.wait_line("who has fd77::120", PATIENCE)?;
    ensure!(line.contains(mac.trim()), "{line}");
    Ok(())
}

/// A launch that a member of a restricted project can make.
fn launch_with_mac(server: &lab::Server, name: &str, verb: &str, mac: &str) -> Result<Guest> {
    let mac = format!("eth0,hwaddr={mac}");
    let quiet = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let arguments = [&["-p", "mv", "-d", &mac], &quiet[..]].concat();
    match verb {
        "launch" => server.launch(name, &arguments),
        _ => {
            server.cli(&[&[verb, "-q", "bb", name], &arguments[..]].concat())?;
            Ok(server.guest(name))
        }
    }
}

fn mac_of(machine: &lab::Machine) -> Result<String> {
    Ok(machine.sh("cat /sys/class/net/eth0/address")?.trim().to_owned())
}

#[test]
fn a_mac_from_a_server_does_not_admit_an_address() -> Result<()> {
    let (site, node, _) = site("")?;
    ensure!(site.host.reaches(PEER.parse::<IpAddr>()?, PATIENCE));
    ensure!(site.host.reaches(PEER_V6.parse::<IpAddr>()?, PATIENCE));
    let watch = site.host.monitor(&["ip", "-ts", "monitor", "route"])?;
    let thief = launch_with_mac(&site.server, "thief", "launch", &mac_of(&site.peer)?)?;
    node.wait_nic(&thief, "eth0", "waiting")?;
    // It makes the switch believe that the MAC is here.
    thief.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad")?;
    for (taken, address) in [("192.168.77.12/24", PEER), ("fd77::12/64", PEER_V6)] {
        thief.sh(&format!("ip addr add {taken} dev eth0"))?;
        thief.sh("arping -q -c 20 -U -I eth0 192.168.77.12 & true")?;
        let entry = node.wait_address(&thief, address.parse::<IpAddr>()?, "refused")?;
        ensure!(entry["reason"] == "held-on-lan" || entry["reason"] == "asking", "{entry:#}");
        eventually(PATIENCE, || {
            let entry = node.wait_address(&thief, address.parse::<IpAddr>()?, "refused")?;
            ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
            Ok(())
        })?;
        ensure!(!is_routed(&site, address)?);
    }
    let stood = stood(&watch, PEER)?;
    println!("the host had a route to the thief for {stood:.1} ms");
    ensure!(!watch.output().iter().any(|line| line.contains(PEER_V6)), "{:#?}", watch.output());
    // Addresses that it gives up are the kernel's again, and the host reaches the machine.
    thief.stop_hard()?;
    ensure!(site.host.reaches(PEER.parse::<IpAddr>()?, PATIENCE), "the host lost {PEER}");
    ensure!(site.host.reaches(PEER_V6.parse::<IpAddr>()?, PATIENCE), "the host lost {PEER_V6}");
    eventually(PATIENCE, || {
        let left =
            site.host.sh("ip neigh show dev eth0 nud all | grep -e 'proto 77' -e extern_learn || true")?;
        ensure!(left.is_empty(), "questions are left over: {left}");
        Ok(())
    })
}

#[test]
fn the_mac_of_a_stopped_guest_helps_nobody_else() -> Result<()> {
    let (site, node, guest) = site("")?;
    ensure!(site.host.reaches(PEER.parse::<IpAddr>()?, PATIENCE));
    let mac = mac_of(&site.peer)?;
    let accomplice = launch_with_mac(&site.server, "accomplice", "init", &mac)?;
    node.wait_nic(&accomplice, "eth0", "stopped")?;
    let watch = site.host.monitor(&["ip", "-ts", "monitor", "route"])?;
    guest.sh(&format!("ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up"))?;
    guest.sh("ip addr add 192.168.77.12/24 dev eth0")?;
    let entry = node.wait_address(&guest, PEER.parse::<IpAddr>()?, "refused")?;
    ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
    ensure!(!watch.output().iter().any(|line| line.contains(PEER)), "{:#?}", watch.output());
    Ok(())
}

/// As from one member of a cluster to another: the same guest, its MAC and its address.
#[test]
fn a_guest_that_is_moved_here_from_another_host_is_reached_at_once() -> Result<()> {
    let (site, node, _) = site("")?;
    let far = site.lab.host("far")?;
    far.plug("eth0", &site.lan, &["192.168.77.13/24", "fd77::13/64"])?;
    let lxd = far.lxd()?;
    lxd.macvlan_profile("mv", "eth0")?;
    let (address, mac): (IpAddr, _) = ("192.168.77.130".parse()?, "00:16:3e:77:01:30");
    let there = launch_with_mac(&lxd, "moves", "launch", mac)?;
    there.sh("ip addr add 192.168.77.130/24 dev eth0")?;
    ensure!(site.host.reaches(address, PATIENCE), "the host does not reach it where it was");
    let known = site.host.sh("ip neigh show 192.168.77.130 dev eth0")?;
    ensure!(known.contains(mac), "{known}");
    there.stop_hard()?;
    let here = launch_with_mac(&site.server, "moves", "launch", mac)?;
    let time = time_to_route(&here, "192.168.77.130")?;
    println!("routed after {time:?}");
    ensure!(time < LOST, "routed after {time:?}");
    node.wait_both_ways(&here, address, HOST)?;
    // Nobody answers. Nothing changes, and nothing is left of the question.
    eventually(PATIENCE, || {
        let left = site.host.sh("ip neigh show 192.168.77.130 dev eth0 nud all")?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })?;
    node.wait_address(&here, address, "routed")?;
    Ok(())
}
