//! Guests that are not simple: links that they make from their NIC in their own namespace are reached too.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::node::{HOST, HOST_V6, Node, PATIENCE, Site};
use anyhow::{Result, ensure};
use lab::{Guest, Kind, Stream};

on_lxd_and_incus!(
    a_guest_with_another_mac_is_known_to_a_new_daemon,
    a_nic_with_another_mac_is_told_from_a_sibling_that_is_older,
    a_sibling_of_the_nic_is_reached,
    a_bridge_with_the_nic_as_port_is_reached
);

const GUEST: &str = "192.168.77.101";
const GUEST_V6: &str = "fd77::101";

/// Runs a command in the guest's network namespace. The lab's tools know more kinds of link than the guest's.
pub(crate) fn in_net_of(guest: &Guest, command: &str) -> Result<String> {
    guest.server().machine().sh(&format!("nsenter --target={} --net {command}", guest.pid()?))
}

fn ip(text: &str) -> Result<IpAddr> {
    Ok(text.parse()?)
}

fn a_guest_with_another_mac_is_known_to_a_new_daemon(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let mut node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let other = site.launch_static("c2", &["192.168.77.102/24"])?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;
    in_net_of(&guest, "ip link set eth0 address 00:16:3e:00:00:ee")?;
    ensure!(site.host.reaches(ip(GUEST)?, PATIENCE), "lost with its MAC\n{}", node.picture()?);
    node.wait_both_ways(&other, ip("192.168.77.102")?, HOST)?;

    node.daemon.kill()?;
    in_net_of(&other, "ip link set eth0 address 00:16:3e:00:00:ef")?;
    let node = Node::start(&site.host)?;
    for (guest, address) in [(&guest, GUEST), (&other, "192.168.77.102")] {
        node.wait_both_ways(guest, ip(address)?, HOST)?;
    }
    in_net_of(&guest, "ip addr add 192.168.77.111/24 dev eth0")?;
    node.wait_both_ways(&guest, ip("192.168.77.111")?, HOST)?;
    ensure!(node.status()?["unclaimed"] == serde_json::json!([]), "{:#}", node.status()?);
    Ok(())
}

/// Neither the name of the device tells them apart, nor their order. The first links that a guest makes have
/// lower numbers than its NIC, which the host has numbered.
fn a_nic_with_another_mac_is_told_from_a_sibling_that_is_older(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let lan = "{type: nic, nictype: macvlan, parent: eth0, name: eth0}";
    let root = "{type: disk, pool: default, path: /}";
    site.server.profile("named", &format!("devices:\n  lan: {lan}\n  root: {root}\n"))?;
    let still = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let guest = site.server.launch("c1", &[&["-p", "named"], &still[..]].concat())?;
    in_net_of(&guest, "ip addr add 192.168.77.101/24 dev eth0")?;
    in_net_of(&guest, "ip link add vrrp.51 index 2 link eth0 type macvlan mode private")?;
    in_net_of(&guest, "ip addr add 192.168.77.151/32 dev vrrp.51")?;
    in_net_of(&guest, "ip link set vrrp.51 up")?;
    in_net_of(&guest, "ip link set eth0 address 00:16:3e:00:00:ee")?;
    let node = Node::start(&site.host)?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;
    node.wait_both_ways(&guest, ip("192.168.77.151")?, HOST)?;
    let nic = node.wait_nic(&guest, "lan", "reachable")?;
    ensure!(nic["mac"] == "00:16:3e:00:00:ee", "{nic:#}");
    Ok(())
}

fn a_sibling_of_the_nic_is_reached(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;
    for (mode, address) in
        [("bridge", "192.168.77.151"), ("private", "192.168.77.152"), ("vepa", "192.168.77.153")]
    {
        in_net_of(&guest, &format!("ip link add {mode}0 link eth0 type macvlan mode {mode}"))?;
        in_net_of(&guest, &format!("ip addr add {address}/32 dev {mode}0"))?;
        in_net_of(&guest, &format!("ip link set {mode}0 up"))?;
        node.wait_both_ways(&guest, ip(address)?, HOST)?;
    }
    in_net_of(&guest, "ip addr add fd77::151/128 dev bridge0 nodad")?;
    node.wait_both_ways(&guest, ip("fd77::151")?, HOST_V6)?;

    // It may have another MAC now, and another one next time.
    for last in ["33", "34"] {
        in_net_of(&guest, &format!("ip link set bridge0 address 00:00:5e:00:01:{last}"))?;
        ensure!(site.host.reaches(ip("192.168.77.151")?, PATIENCE), "lost with its MAC\n{}", node.picture()?);
    }
    in_net_of(&guest, "ip link del bridge0")?;
    node.wait_gone(ip("192.168.77.151")?)?;
    node.wait_gone(ip("fd77::151")?)?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;
    ensure!(node.status()?["problems"] == serde_json::json!([]), "{:#}", node.status()?);
    Ok(())
}

fn a_bridge_with_the_nic_as_port_is_reached(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;
    in_net_of(&guest, "ip link add br0 type bridge")?;
    in_net_of(&guest, "ip link set br0 up")?;
    in_net_of(&guest, "ip addr flush dev eth0 scope global")?;
    in_net_of(&guest, "ip link set eth0 master br0")?;
    for address in ["192.168.77.101/24", "fd77::101/64"] {
        in_net_of(&guest, &format!("ip addr add {address} dev br0"))?;
    }
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;
    node.wait_both_ways(&guest, ip(GUEST_V6)?, HOST_V6)?;

    // A bridge with another MAC is cut off from the LAN as well, and status says how to repair it.
    in_net_of(&guest, "ip link set br0 address 02:00:00:00:00:77")?;
    let refused = node.wait_address(&guest, ip(GUEST)?, "refused")?;
    ensure!(refused["reason"] == "master-mac", "{refused}");
    site.peer.sh("ip neigh flush all")?;
    ensure!(!site.peer.pings(ip(GUEST)?), "the LAN reaches it: then we must reach it too");
    let message = refused["message"].as_str().unwrap_or_default();
    let cure = message.split("; ").find(|part| part.starts_with("ip link set br0 address "));
    in_net_of(&guest, cure.unwrap_or(message))?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)?;

    // Back to a plain NIC.
    in_net_of(&guest, "ip link del br0")?;
    node.wait_gone(ip(GUEST)?)?;
    in_net_of(&guest, "ip addr add 192.168.77.101/24 dev eth0")?;
    node.wait_both_ways(&guest, ip(GUEST)?, HOST)
}

/// As VRRP does it, without the delays of VRRP.
#[test]
fn a_service_address_moves_from_guest_to_guest() -> Result<()> {
    const SERVICE: &str = "192.168.77.50";
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let one = site.launch_static("one", &["192.168.77.101/24", "192.168.77.50/32"])?;
    let two = site.launch_static("two", &["192.168.77.102/24"])?;
    node.wait_both_ways(&one, ip(SERVICE)?, HOST)?;
    node.wait_both_ways(&two, ip("192.168.77.102")?, HOST)?;
    let there = one.within(|| Stream::socket(ip(SERVICE)?))?;
    let twin = two.within(|| Stream::twin(&there))?;
    let here = site.host.within(|| Stream::socket(ip(SERVICE)?))?;
    let stream = Stream::start_to_any(here, vec![there, twin], ip(SERVICE)?)?;
    stream.wait(SystemTime::now(), PATIENCE)?;
    let mut silences = Vec::new();
    for round in 0..6 {
        let (from, to) = if round % 2 == 0 { (one.pid()?, two.pid()?) } else { (two.pid()?, one.pid()?) };
        let add = format!("nsenter --target={to} --net ip addr add {SERVICE}/32 dev eth0");
        let del = format!("nsenter --target={from} --net ip addr del {SERVICE}/32 dev eth0");
        let both = if round < 4 { [&add, &del] } else { [&del, &add] };
        let moment = SystemTime::now();
        site.host.sh(&format!("{}; {}", both[0], both[1]))?;
        stream.wait(SystemTime::now(), PATIENCE)?;
        silences.push(stream.silence(moment));
    }
    println!("a service address that moves is away for {silences:?}");
    Ok(())
}
