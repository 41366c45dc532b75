//! Guests whose root is an enemy of the host, of the LAN, and of the other guests. Whatever it does to its
//! own NIC and puts on the wire, the host's traffic for others still reaches them, and an honest guest keeps
//! reaching the host. `.github/SECURITY.md` says which attacks no filter of ours can prevent.

mod addresses;
mod control;
mod frames;
mod links;
mod lock;
mod names;
mod overhear;
mod squatters;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::forge::{self, Mac};
use lab::{Guest, Kind, Share};

use crate::node::{HOST, HOST_V6, Node, Site, routes};

/// Long enough for all effects of an event, and sooner than the resync.
const SOON: Duration = Duration::from_secs(10);

const HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 11);
const HOST_IP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x11);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 12);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x12);
const HONEST: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 101);
const HONEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x101);
const HOSTILE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 66);
const HOSTILE_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x66);

/// A host with an honest and a hostile guest.
struct Den {
    site: Site,
    node: Node,
    honest: Guest,
    /// The process id of its init, as a way into it that needs no server.
    honest_pid: u64,
    hostile: Guest,
}

impl Den {
    fn new() -> Result<Den> {
        Den::with(Share::One)
    }

    /// A den for a story that must not run beside as many others as usual.
    fn with(share: Share) -> Result<Den> {
        let site = Site::with(Kind::Lxd, share)?;
        let node = Node::start(&site.host)?;
        let honest = site.launch_static("honest", &["192.168.77.101/24", "fd77::101/64"])?;
        let hostile = site.launch_static("hostile", &["192.168.77.66/24", "fd77::66/64"])?;
        let honest_pid = honest.pid()?;
        let den = Den { site, node, honest, honest_pid, hostile };
        den.node.wait_both_ways(&den.hostile, HOSTILE, HOST)?;
        den.node.wait_both_ways(&den.hostile, HOSTILE_V6, HOST_V6)?;
        den.nobody_is_harmed()?;
        Ok(den)
    }

    /// Runs a command as root of the hostile guest, with all programs of the host.
    fn attack(&self, script: &str) -> Result<String> {
        let target = format!("--target={}", self.hostile.pid()?);
        let root = ["nsenter", &target, "--user", "--net", "--setuid=0", "--setgid=0"];
        self.site.host.run(&[&root[..], &["bash", "-euc", script]].concat())
    }

    /// The MAC that the host shows to its guests.
    fn shim_mac(&self) -> Result<Mac> {
        forge::mac(&self.site.host.sh("cat /sys/class/net/mvs-eth0/address")?)
    }

    /// The host and the honest guest reach each other and the LAN, each at its own address.
    fn nobody_is_harmed(&self) -> Result<()> {
        self.honest_is_reached()?;
        let site = &self.site;
        for address in [IpAddr::from(PEER), PEER_V6.into(), GATEWAY.into()] {
            ensure!(site.host.reaches(address, SOON), "the host lost {address}\n{}", self.node.picture()?);
            self.honest_reaches(address)?;
            let way = site.host.sh(&format!("ip route get {address}"))?;
            ensure!(way.contains("dev eth0"), "the host's traffic for {address} goes the wrong way: {way}");
        }
        Ok(())
    }

    /// The host and the honest guest reach each other.
    fn honest_is_reached(&self) -> Result<()> {
        for (guest, host) in
            [(IpAddr::from(HONEST), IpAddr::from(HOST_IP)), (HONEST_V6.into(), HOST_IP6.into())]
        {
            ensure!(self.site.host.reaches(guest, SOON), "the host lost {guest}\n{}", self.node.picture()?);
            self.honest_reaches(host)?;
        }
        let entries = self.site.host.sh("ip neigh show dev mvs-eth0")?;
        let enter = format!("nsenter --target={} --net", self.honest_pid);
        let mac = self.site.host.sh(&format!("{enter} ip -o link show eth0 | grep -o 'link/ether [^ ]*'"))?;
        let mac = mac.trim().trim_start_matches("link/ether ");
        for address in [HONEST.to_string(), HONEST_V6.to_string()] {
            let entry = entries.lines().find(|entry| entry.starts_with(&format!("{address} ")));
            let entry = entry.with_context(|| format!("no entry for {address} in {entries}"))?;
            ensure!(entry.contains(mac), "the honest guest's {address} is at another MAC: {entry}");
        }
        Ok(())
    }

    fn honest_reaches(&self, address: IpAddr) -> Result<()> {
        let ping = format!("nsenter --target={} --net ping -n -q -c 1 -W 0.3 {address}", self.honest_pid);
        lab::eventually(SOON, || self.site.host.sh(&ping))
            .with_context(|| format!("the honest guest lost {address}"))?;
        Ok(())
    }

    /// The addresses that the host routes to its guests, without those that rightly belong to the two.
    fn loot(&self) -> Result<Vec<String>> {
        let own = [HONEST.to_string(), HONEST_V6.to_string(), HOSTILE.to_string(), HOSTILE_V6.to_string()];
        let routed = routes(&self.site.host)?;
        let routed = routed.iter().filter_map(|route| route.split(' ').next()).map(str::to_owned);
        Ok(routed.filter(|address| !own.contains(address)).collect())
    }

    /// All objects are as they should be.
    fn is_settled(&self) -> Result<()> {
        self.node.wait_well(SOON)
    }
}
