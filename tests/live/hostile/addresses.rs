//! Addresses that belong to others.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Share, eventually};

use super::{Den, GATEWAY, HONEST, HONEST_V6, HOST_IP, HOST_IP6, PEER, PEER_V6, SOON};
use crate::node::routes;

#[test]
fn addresses_of_others_get_a_guest_nothing() -> Result<()> {
    let den = Den::new()?;
    let mac = den.hostile.mac("eth0")?;
    for (address, reason) in [
        (IpAddr::from(HONEST), "held"),
        (HONEST_V6.into(), "held"),
        (HOST_IP.into(), "host-address"),
        (HOST_IP6.into(), "host-address"),
        (GATEWAY.into(), "next-hop"),
        (PEER.into(), "held-on-lan"),
        (PEER_V6.into(), "held-on-lan"),
        ("8.8.8.8".parse()?, "off-link"),
        ("2001:db8::1".parse()?, "off-link"),
        ("127.0.0.2".parse()?, "not-global"),
        ("192.168.77.0".parse()?, "network-address"),
        ("192.168.77.255".parse()?, "broadcast-address"),
    ] {
        let nodad = if address.is_ipv6() { "nodad" } else { "" };
        den.attack(&format!("ip addr add {address} dev eth0 {nodad}"))?;
        let refused = den.node.wait_address(&den.hostile, address, "refused")?;
        ensure!(refused["reason"] == reason, "{address}: {refused}");
        // It announces them to everybody, and answers everybody who asks.
        if address.is_ipv4() {
            den.attack(&format!("arping -q -c 2 -i 0.1 -U -I eth0 {address} || true"))?;
        }
    }
    ensure!(den.loot()? == Vec::<String>::new(), "routed are {:?}", den.loot()?);
    let entries = den.site.host.sh("ip neigh show dev eth0; ip neigh show dev mvs-eth0")?;
    let of_guest: Vec<&str> = entries.lines().filter(|entry| entry.contains(&mac)).collect();
    let own = |entry: &&&str| entry.starts_with("192.168.77.66 ") || entry.starts_with("fd77::66 ");
    ensure!(of_guest.iter().filter(|entry| !own(entry)).count() == 0, "the host believes {of_guest:#?}");

    // Traffic from the host to a server on the LAN arrives there, and nowhere else.
    let listen = || {
        let socket = UdpSocket::bind(("0.0.0.0", 5000))?;
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    };
    let (server, thief) = (den.site.peer.within(listen)?, den.hostile.within(listen)?);
    den.site.host.within(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        for target in [PEER, GATEWAY, HONEST] {
            socket.send_to(b"a secret", (target, 5000))?;
        }
        Ok(())
    })?;
    let mut buffer = [0; 16];
    ensure!(server.recv(&mut buffer)? == 8, "the server on the LAN did not get it");
    // It would have come at the same time.
    thief.set_read_timeout(Some(Duration::from_secs(1)))?;
    ensure!(thief.recv(&mut buffer).is_err(), "the guest got traffic of others");
    // It still has the addresses of the LAN. The honest guest's own traffic with the LAN is a matter between
    // it and the LAN.
    den.honest_is_reached()
}

/// Then the LAN itself cannot tell the two machines apart. But the host's traffic went out by the wire before
/// there was a shim, and never to a guest.
#[test]
fn the_mac_of_a_lan_server_does_not_give_its_address_to_a_guest() -> Result<()> {
    let den = Den::new()?;
    let mac = den.site.peer.sh("cat /sys/class/net/eth0/address")?;
    den.attack(&format!("ip link set eth0 address {mac}"))?;
    den.attack(&format!("ip addr add {PEER}/24 dev eth0; ip addr add {PEER_V6}/64 dev eth0 nodad"))?;
    for address in [IpAddr::from(PEER), PEER_V6.into()] {
        let refused = den.node.wait_address(&den.hostile, address, "refused")?;
        ensure!(refused["reason"] == "held-on-lan", "{refused}");
    }
    ensure!(den.loot()? == Vec::<String>::new(), "routed are {:?}", den.loot()?);
    den.honest_is_reached()
}

#[test]
fn ten_thousand_addresses_harm_only_the_guest_that_has_them() -> Result<()> {
    let den = Den::with(Share::Half)?;
    let start = Instant::now();
    // All in one multicast group, because the kernel is slow with many groups.
    den.attack("printf 'addr add fd77::%x:0:66/64 dev eth0 nodad\\n' {1..10000} | ip -batch -")?;
    eventually(SOON, || {
        let count = den.loot()?.len();
        ensure!(count >= 30, "only {count} are routed");
        Ok(())
    })?;
    println!("10,000 addresses after {:?}", start.elapsed());
    let start = Instant::now();
    den.honest.sh("ip addr add 192.168.77.102/24 dev eth0")?;
    den.node.wait_address(&den.honest, "192.168.77.102".parse::<IpAddr>()?, "routed")?;
    println!("an honest address beside them after {:?}", start.elapsed());
    den.honest_is_reached()?;
    let status = den.node.status()?;
    println!("the status has {} bytes", status.to_string().len());
    eventually(SOON, || {
        let routed = routes(&den.site.host)?.len();
        ensure!(routed <= 32 + 3, "{routed} addresses are routed");
        Ok(())
    })?;
    ensure!(den.node.daemon.output().len() < 500, "the log is flooded");
    // They go as they came.
    den.attack("ip -6 addr flush dev eth0 scope global; ip addr flush dev eth0")?;
    eventually(SOON, || {
        let routed = routes(&den.site.host)?;
        ensure!(routed.len() == 3, "still routed: {routed:?}");
        Ok(())
    })?;
    den.honest_is_reached()
}
