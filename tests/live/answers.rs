//! A shim answers the ARP requests of guests for exactly the addresses that the host's uplink answers for,
//! whatever the host's settings would make the kernel say.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use lab::forge::{self, Arp, BROADCAST, Forge, Mac};
use lab::{Ear, Guest, Kind};

use crate::node::{HOST, Node, PATIENCE, Site};

const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 101);
const HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);
const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 50);

/// Sooner than a resync.
const SOON: Duration = Duration::from_secs(10);

/// A host with a shim, and a guest that asks.
struct Asking {
    site: Site,
    _node: Node,
    _guest: Guest,
    forge: Forge,
    ear: Ear,
    shim: Mac,
}

impl Asking {
    /// `before`: a script that runs on the host before the daemon starts.
    fn start(before: &str) -> Result<Asking> {
        let site = Site::new(Kind::Lxd)?;
        site.host.sh(before)?;
        let node = Node::start(&site.host)?;
        let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
        node.wait_both_ways(&guest, GUEST, HOST)?;
        let shim = forge::mac(&site.host.sh("cat /sys/class/net/mvs-eth0/address")?)?;
        let (forge, ear) = (guest.forge("eth0")?, guest.ear()?);
        Ok(Asking { site, _node: node, _guest: guest, forge, ear, shim })
    }

    /// Asks for every address of the LAN, and some more, both as the owner of an address and as somebody who
    /// wants one. Returns the addresses that the shim answers for.
    fn ask_for_all(&self) -> Result<BTreeSet<Ipv4Addr>> {
        let lan = (1..=254).map(|last| Ipv4Addr::new(192, 168, 77, last));
        let all = lan.chain([lab::Lan::BEYOND_V4, Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 99, 0, 1)]);
        let mut replies = BTreeSet::new();
        for target in all {
            for sender in [GUEST, Ipv4Addr::UNSPECIFIED] {
                for to in [self.shim, BROADCAST] {
                    self.forge.send(&forge::arp(Arp::Request, to, self.forge.mac(), sender, target))?;
                }
            }
            // It hears the questions too, and its buffer is small.
            while let Some(reply) = self.ear.arp_reply(Duration::from_millis(1))? {
                replies.insert(reply);
            }
        }
        // A proxy takes its time, almost a second.
        while let Some(reply) = self.ear.arp_reply(Duration::from_millis(1500))? {
            replies.insert(reply);
        }
        Ok(replies.into_iter().filter(|(mac, _)| *mac == self.shim).map(|(_, address)| address).collect())
    }

    /// Changes something, and asks for an address until the shim answers. Returns how long that took.
    fn until_answered(&self, address: Ipv4Addr, change: &str) -> Result<Duration> {
        self.site.host.sh(change)?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.forge.send(&forge::arp(Arp::Request, BROADCAST, self.forge.mac(), GUEST, address))?;
            if self.ear.arp_reply(Duration::from_millis(1))? == Some((self.shim, address)) {
                return Ok(start.elapsed());
            }
        }
        bail!("no answer for {address} after `{change}`\n{}", self.site.host.sh("nft list ruleset netdev")?)
    }
}

/// The settings of a router that connects networks (`proxy_arp`).
#[test]
fn a_host_that_answers_for_everything_does_not_do_so_on_a_shim() -> Result<()> {
    let asking = Asking::start(
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/all/proxy_arp
         ip link add br9 type bridge; ip link set br9 up; ip addr add 10.99.0.1/24 dev br9",
    )?;
    let answered = asking.ask_for_all()?;
    ensure!(answered == BTreeSet::from([HOST_IP]), "the shim answers for {answered:?}");
    // The guest sees the machines of the LAN that it asked for.
    let peer = asking.site.peer.sh("cat /sys/class/net/eth0/address")?;
    asking.forge.send(&forge::arp(
        Arp::Request,
        BROADCAST,
        asking.forge.mac(),
        GUEST,
        Ipv4Addr::new(192, 168, 77, 12),
    ))?;
    let reply = asking.ear.arp_reply(PATIENCE)?;
    ensure!(reply.map(|(mac, _)| mac) == Some(forge::mac(&peer)?), "the peer is at {reply:?}");
    Ok(())
}

/// A real server behind a load balancer has the service's address on `lo`, and its uplink is silent about it.
#[test]
fn a_shim_is_as_silent_about_a_service_as_the_uplink() -> Result<()> {
    let asking = Asking::start(
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/eth0/arp_announce
         ip addr add 192.168.77.50/32 dev lo",
    )?;
    let answered = asking.ask_for_all()?;
    ensure!(answered == BTreeSet::from([HOST_IP]), "the shim answers for {answered:?}");
    Ok(())
}

/// As keepalived does it on the host, with a virtual MAC and without.
#[test]
fn a_service_address_that_comes_to_the_uplink_is_answered_at_once() -> Result<()> {
    let asking = Asking::start("")?;
    for (what, come, go) in [
        ("on the uplink", "ip addr add 192.168.77.50/32 dev eth0", "ip addr del 192.168.77.50/32 dev eth0"),
        (
            "at a virtual MAC",
            "ip link add vrrp.51 link eth0 address 00:00:5e:00:01:33 type macvlan mode private
             sysctl -q -w net.ipv4.conf.eth0.arp_ignore=1; ip link set vrrp.51 up
             ip addr add 192.168.77.50/32 dev vrrp.51",
            "ip link del vrrp.51; sysctl -q -w net.ipv4.conf.eth0.arp_ignore=0",
        ),
    ] {
        for _ in 0..3 {
            let time = asking.until_answered(SERVICE, come)?;
            println!("{what}: answered after {time:?}");
            ensure!(time < SOON, "{what}: after {time:?}");
            asking.site.host.sh(go)?;
            let gone = || {
                let answered = asking.ask_for_all()?;
                ensure!(!answered.contains(&SERVICE), "it is still answered");
                Ok(())
            };
            lab::eventually(PATIENCE, gone)?;
            ensure!(asking.site.host.pings(IpAddr::from(GUEST)), "the guest is lost");
        }
    }
    Ok(())
}
