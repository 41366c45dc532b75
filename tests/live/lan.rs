//! The LAN notices nothing: captures on its bridge while a guest and its host talk.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::node::{HOST, HOST_V6, Node, PATIENCE, Site};
use anyhow::{Context, Result, ensure};
use lab::{Kind, Machine, eventually};

const GUEST: &str = "192.168.77.101";
const GUEST_V6: &str = "fd77::101";
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 7, 7, 7);
const HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);

fn mac_of(machine: &Machine, link: &str) -> Result<String> {
    Ok(machine.sh(&format!("cat /sys/class/net/{link}/address"))?.trim().to_owned())
}

fn set_rp_filter(machine: &Machine, value: u8) -> Result<()> {
    machine.sh(&format!("echo {value} > /proc/sys/net/ipv4/conf/all/rp_filter")).map(drop)
}

#[test]
fn one_mac_answers_for_the_host_and_the_shim_never_asks() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&guest, GUEST_V6.parse::<IpAddr>()?, HOST_V6)?;
    let (host_mac, shim_mac) = (mac_of(&site.host, "eth0")?, mac_of(&site.host, "mvs-eth0")?);

    for rp_filter in [0, 1, 2] {
        set_rp_filter(&site.host, rp_filter)?;
        let capture = site.lan.capture("arp or icmp6")?;
        // Everybody forgets everybody, then talks. Everything that would ask on the wire does so now.
        site.peer.sh("ip neigh flush all; ip -6 neigh flush all")?;
        guest.sh("ip neigh flush dev eth0")?;
        site.host.sh("ip neigh flush dev eth0")?;
        let answers = site.peer.sh(&format!("arping -c 3 -w 5 -I eth0 {HOST}"))?.to_lowercase();
        ensure!(answers.contains(&host_mac), "the host does not answer at rp_filter {rp_filter}: {answers}");
        ensure!(!answers.contains(&shim_mac), "two machines answer at rp_filter {rp_filter}: {answers}");
        ensure!(guest.pings(HOST.parse::<IpAddr>()?), "guest to host fails at rp_filter {rp_filter}");
        ensure!(site.host.pings(GUEST.parse::<IpAddr>()?), "host to guest fails at rp_filter {rp_filter}");
        ensure!(guest.pings(HOST_V6.parse::<IpAddr>()?), "guest to host fails over IPv6");
        ensure!(site.host.pings(GUEST_V6.parse::<IpAddr>()?), "host to guest fails over IPv6");
        ensure!(site.peer.pings(HOST.parse::<IpAddr>()?), "the peer lost the host");
        ensure!(site.peer.pings(GUEST.parse::<IpAddr>()?), "the peer lost the guest");
        ensure!(site.peer.pings(HOST_V6.parse::<IpAddr>()?), "the peer lost the host over IPv6");
        ensure!(site.peer.pings(GUEST_V6.parse::<IpAddr>()?), "the peer lost the guest over IPv6");

        let neighbours = site.peer.sh("ip neigh; ip -6 neigh")?;
        ensure!(!neighbours.contains(&shim_mac), "the peer learnt the shim's MAC: {neighbours}");
        for address in [HOST, HOST_V6] {
            let entry = neighbours.lines().find(|line| line.starts_with(&format!("{address} ")));
            ensure!(entry.is_some_and(|entry| entry.contains(&host_mac)), "no {address} in {neighbours}");
        }
        let frames = capture.stop()?;
        ensure!(!frames.is_empty(), "nothing was captured: the test proves nothing");
        let tells = |frame: &&String| frame.contains(&format!("{shim_mac} >")) && frame.contains("who-has");
        let asked: Vec<_> = frames.iter().filter(tells).collect();
        ensure!(asked.is_empty(), "the shim asked on the wire at rp_filter {rp_filter}: {asked:#?}");
        let reply = |frame: &&String| frame.contains(&format!("{HOST} is-at {shim_mac}"));
        let replied: Vec<_> = frames.iter().filter(reply).collect();
        ensure!(replied.is_empty(), "the shim answered on the wire: {replied:#?}");
    }
    Ok(())
}

#[test]
fn services_of_the_host_send_and_receive_as_before() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    node.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    let host_mac = mac_of(&site.host, "eth0")?;

    for rp_filter in [0, 1, 2] {
        set_rp_filter(&site.host, rp_filter)?;
        let (bound, joined) = site.host.within(|| {
            let bound = UdpSocket::bind((HOST_IP, 5000))?;
            let joined = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5001))?;
            joined.join_multicast_v4(&GROUP, &HOST_IP)?;
            Ok((bound, joined))
        })?;
        let capture = site.lan.capture("udp port 6000 or udp port 5000 or udp port 5001")?;

        site.peer.within(|| {
            let sender = UdpSocket::bind(("192.168.77.12", 0))?;
            sender.send_to(b"to the host", (HOST_IP, 5000))?;
            sender.send_to(b"to the group", (GROUP, 5001))?;
            Ok(())
        })?;
        ensure!(receive_all(&bound)? == ["to the host"], "the bound service at rp_filter {rp_filter}");
        ensure!(receive_all(&joined)? == ["to the group"], "the joined service at rp_filter {rp_filter}");

        bound.set_broadcast(true)?;
        bound.send_to(b"multicast", (GROUP, 6000))?;
        bound.send_to(b"broadcast", (Ipv4Addr::BROADCAST, 6000))?;
        bound.send_to(b"unicast", ("192.168.77.12", 6000))?;
        bound.send_to(b"the last one", ("192.168.77.12", 6000))?;
        let sent = || -> Result<Vec<String>> {
            let lines = capture.lines();
            let sent = lines.iter().filter(|line| line.contains(&format!("{HOST}.5000 >")));
            Ok(sent.cloned().collect())
        };
        eventually(PATIENCE, || {
            ensure!(sent()?.len() >= 4, "only {:#?}", sent()?);
            Ok(())
        })?;
        for line in sent()? {
            ensure!(
                line.contains(&format!("{host_mac} >")),
                "it left with another MAC at {rp_filter}: {line}"
            );
        }
        ensure!(sent()?.len() == 4, "something was sent twice: {:#?}", sent()?);
    }
    Ok(())
}

/// Everything that a socket receives, until nothing more comes for a while.
fn receive_all(socket: &UdpSocket) -> Result<Vec<String>> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut received = Vec::new();
    let mut buffer = [0; 64];
    while let Ok(length) = socket.recv(&mut buffer) {
        received.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    }
    Ok(received)
}

#[test]
fn a_bridged_guest_behind_nat_reaches_a_macvlan_guest() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let second = site.lab.lan("10.88.0.0/24", "fd88::/64")?;
    site.host.plug("eth1", &second, &["10.88.0.11/24"])?;
    site.host.sh("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    let bridge =
        ["network", "create", "lxdbr0", "ipv4.address=10.99.0.1/24", "ipv4.nat=true", "ipv6.address=none"];
    site.server.cli(&bridge)?;
    let config = "[[parent]]\nname = \"eth1\"\naddresses = [\"10.88.0.72\"]\n";
    let node = Node::start_with(&site.host, config)?;
    let on_first = site.launch_static("first", &["192.168.77.101/24"])?;
    site.server.macvlan_profile("mv1", "eth1")?;
    let quiet = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let on_second = site.server.launch("second", &[&["-p", "mv1"], &quiet[..]].concat())?;
    on_second.sh("ip addr add 10.88.0.101/24 dev eth0")?;
    node.wait_both_ways(&on_first, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.wait_both_ways(&on_second, "10.88.0.101".parse::<IpAddr>()?, "10.88.0.11")?;

    let bridged = site.server.launch("bridged", &["-n", "lxdbr0"])?;
    bridged.ipv4("eth0").context("the bridged guest has no address")?;
    ensure!(bridged.reaches("192.168.77.101".parse::<IpAddr>()?, PATIENCE), "over the first uplink");
    ensure!(
        bridged.reaches("10.88.0.101".parse::<IpAddr>()?, PATIENCE),
        "over the second uplink, whose shim has an own address\n{}",
        node.picture()?
    );
    Ok(())
}
