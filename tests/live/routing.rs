//! The host's own routes. A guest gets no address that they lead elsewhere, and a guest may be the gateway of
//! one of them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use crate::node::{HOST, Node, PATIENCE, Site, routes};
use anyhow::{Result, ensure};
use lab::Kind;
use serde_json::json;

const BRIDGED: Ipv4Addr = Ipv4Addr::new(10, 230, 202, 50);
const PRINTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 101);

/// The LAN is 10.0.0.0/8, and the host's bridge has a network inside it.
#[test]
fn the_address_of_a_bridged_guest_gets_a_macvlan_guest_nothing() -> Result<()> {
    let lab = lab::Lab::new()?;
    let lan = lab.lan("10.0.0.0/8", "")?;
    let host = lab.host("node")?;
    host.plug("eth0", &lan, &["10.0.0.11/8"])?;
    host.sh("ip link add lxdbr0 type bridge; ip addr add 10.230.202.1/24 dev lxdbr0; ip link set lxdbr0 up")?;
    let server = host.server(Kind::Lxd)?;
    server.macvlan_profile("mv", "eth0")?;
    let devices = json!({
        "root": {"type": "disk", "path": "/", "pool": "default"},
        "eth0": {"type": "nic", "nictype": "bridged", "parent": "lxdbr0"},
    });
    server.query("POST", "/1.0/profiles", &json!({"name": "bridged", "devices": devices}))?;
    let node = Node::start(&host)?;
    let alone = ["-c", "environment.LAB_DHCP=none", "-c", "environment.LAB_RA=none"];
    let bridged = server.launch("bridged", &[&["-p", "bridged"][..], &alone].concat())?;
    bridged.sh(&format!("ip addr add {BRIDGED}/24 dev eth0"))?;
    let thief = server.launch("thief", &[&["-p", "mv"][..], &alone].concat())?;
    thief.sh(&format!("ip addr add {PRINTER}/8 dev eth0"))?;
    node.wait_both_ways(&thief, PRINTER, "10.0.0.11")?;

    thief.sh(&format!("ip addr add {BRIDGED}/8 dev eth0"))?;
    let refused = node.wait_address(&thief, BRIDGED, "refused")?;
    ensure!(refused["reason"] == "routed-elsewhere", "{refused}");
    let said = refused["message"].as_str().unwrap_or_default();
    ensure!(said.starts_with("the host's route 10.230.202.0/24 through lxdbr0 leads there"), "{said}");

    let listen = || {
        let socket = UdpSocket::bind(("0.0.0.0", 5000))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    let (owner, other) = (bridged.within(listen)?, thief.within(listen)?);
    host.within(|| Ok(UdpSocket::bind(("0.0.0.0", 0))?.send_to(b"a secret", (BRIDGED, 5000))?))?;
    let mut buffer = [0; 16];
    ensure!(owner.recv(&mut buffer)? == 8, "the bridged guest did not get it");
    other.set_nonblocking(true)?;
    ensure!(other.recv(&mut buffer).is_err(), "the macvlan guest got traffic of the bridged one");

    // A later route takes away an existing one of ours.
    host.sh(&format!("ip route add {PRINTER}/32 dev lxdbr0 metric 50"))?;
    let refused = node.wait_address(&thief, PRINTER, "refused")?;
    ensure!(refused["reason"] == "routed-elsewhere", "{refused}");
    node.wait_gone(PRINTER)?;
    host.sh(&format!("ip route delete {PRINTER}/32 dev lxdbr0 metric 50"))?;
    node.wait_both_ways(&thief, PRINTER, "10.0.0.11")
}

/// A VPN server in a guest. The operator's route to its clients leads through our shim.
#[test]
fn a_guest_that_is_a_gateway_keeps_its_route_and_the_operator_theirs() -> Result<()> {
    const VPN: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 101);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 7);
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let vpn = site.launch_static("vpn", &["192.168.77.101/24"])?;
    node.wait_both_ways(&vpn, VPN, HOST)?;
    vpn.sh(&format!("ip addr add {CLIENT}/32 dev lo; ip link set lo up"))?;
    site.host.sh(&format!("ip route add 10.8.0.0/24 via {VPN}"))?;
    let stands = || -> Result<()> {
        let all = site.host.sh("ip route")?;
        ensure!(all.contains("10.8.0.0/24 via 192.168.77.101 dev mvs-eth0"), "{all}");
        ensure!(routes(&site.host)?.iter().any(|route| route.starts_with("192.168.77.101 ")), "{all}");
        ensure!(site.host.reaches(CLIENT, PATIENCE), "the client is not reached\n{all}");
        Ok(())
    };
    stands()?;
    // After a resync, which SIGHUP causes, nothing else is left to do.
    let mut node = node;
    node.daemon.signal("HUP")?;
    node.wait_address(&vpn, IpAddr::from(VPN), "routed")?;
    node.wait_well(PATIENCE)?;
    node.daemon.stop()?;
    let node = Node::start(&site.host)?;
    node.wait_address(&vpn, IpAddr::from(VPN), "routed")?;
    stands()
}
