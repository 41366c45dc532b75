//! A guest fills the neighbour tables that all network namespaces of the machine share. Nothing else may run meanwhile,
//! so these stories are in a program of their own, one after the other. The real binary with a real LXD; needs root.

#[path = "live/node.rs"]
#[expect(dead_code, reason = "other stories need more of it")]
mod node;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Crowd, Guest, Kind, eventually};

use node::{HOST, Node, PATIENCE, Site};

const PEER: &str = "192.168.77.12";
const PEER_V6: &str = "fd77::12";

/// One story at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guest with a link of its own on which it can have any neighbours.
fn hostile(site: &Site) -> Result<Guest> {
    let guest = site.launch_static("hostile", &["192.168.77.66/24", "fd77::66/64"])?;
    guest.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad")?;
    guest.sh("ip link add crowd type bridge; ip link set crowd up; ip addr add 10.98.0.1/16 dev crowd")?;
    guest.sh("ip addr add fd98::1/64 dev crowd")?;
    Ok(guest)
}

/// On this machine the others share the table too. On another one they would know the host all the same.
fn know_the_host(site: &Site) -> Result<()> {
    let mac = site.host.sh("cat /sys/class/net/eth0/address")?;
    let local = site.host.sh("ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1")?;
    for address in [HOST, node::HOST_V6, local.trim()] {
        site.peer.sh(&format!("ip neigh replace {address} lladdr {} dev eth0 nud permanent", mac.trim()))?;
    }
    Ok(())
}

fn fill(site: &Site, guest: &Guest) -> Result<Crowd> {
    let crowd = guest.crowd("crowd")?;
    // Whatever the host asks for is refused.
    eventually(PATIENCE, || {
        for address in ["192.168.77.199", "fd77::199"] {
            let said = site.host.sh(&format!("ip neigh replace {address} dev eth0 use 2>&1; true"))?;
            site.host.sh(&format!("ip neigh del {address} dev eth0 2>/dev/null; true"))?;
            ensure!(said.contains("No buffer space"), "{address}: {said}");
        }
        Ok(())
    })?;
    Ok(crowd)
}

fn problem(node: &Node, code: &str, object: &str) -> Result<Option<serde_json::Value>> {
    let status = node.status()?;
    let problems = status["problems"].as_array().context("no problems")?;
    Ok(problems.iter().find(|problem| problem["code"] == code && problem["object"] == object).cloned())
}

#[test]
fn a_full_table_does_not_make_a_lan_machines_address_a_guests() -> Result<()> {
    let _alone = alone();
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    let guest = hostile(&site)?;
    node.wait_both_ways(&guest, "192.168.77.66".parse::<IpAddr>()?, HOST)?;
    know_the_host(&site)?;
    site.host.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
    let start = Instant::now();
    let crowd = fill(&site, &guest)?;
    for (taken, address) in [("192.168.77.12/24", PEER), ("fd77::12/64", PEER_V6)] {
        guest.sh(&format!("ip addr add {taken} dev eth0"))?;
        eventually(PATIENCE, || {
            let entry = node.wait_address(&guest, address.parse::<IpAddr>()?, "refused")?;
            ensure!(entry["reason"] == "held-on-lan", "{entry:#}");
            Ok(())
        })?;
        let way = site.host.sh(&format!("ip route get {address}"))?;
        ensure!(way.contains("dev eth0"), "the host's traffic for {address} is led astray: {way}");
        // The question has made the host's own way to that machine.
        ensure!(site.host.reaches(address.parse::<IpAddr>()?, PATIENCE), "the host lost {address}");
    }
    // Others get their addresses as ever.
    guest.sh("ip addr add 192.168.77.67/24 dev eth0")?;
    node.wait_address(&guest, "192.168.77.67".parse::<IpAddr>()?, "routed")?;
    crowd.leave()?;
    println!("the tables were full for {:?}", start.elapsed());
    // What the questions have made is the kernel's in the end.
    guest.sh("ip addr flush dev eth0")?;
    eventually(PATIENCE, || {
        let left =
            site.host.sh("ip neigh show dev eth0 nud all | grep -e 'proto 77' -e extern_learn || true")?;
        ensure!(left.is_empty(), "questions are left over: {left}");
        Ok(())
    })?;
    ensure!(site.host.reaches(PEER.parse::<IpAddr>()?, PATIENCE), "the host lost {PEER}");
    Ok(())
}

#[test]
fn a_full_table_is_a_problem_with_a_cure_and_our_own_entries_are_none() -> Result<()> {
    let _alone = alone();
    let site = Site::new(Kind::Lxd)?;
    let guest = hostile(&site)?;
    // As of a thousand guests: they are exempt.
    let entry = |n: u32| {
        format!(
            "neigh replace 10.97.{}.{} lladdr 02:00:00:00:00:01 dev eth0 nud permanent\n",
            n >> 8,
            n & 255
        )
    };
    let many: String = (0..1500).map(entry).collect();
    site.host.run_with_stdin(&["ip", "-batch", "-"], &many)?;
    let mut node = Node::start(&site.host)?;
    ensure!(problem(&node, "neighbour-table-full", "IPv4")?.is_none(), "{}", node.status()?);
    let start = Instant::now();
    let crowd = fill(&site, &guest)?;
    let full = Instant::now();
    // It is told with the next reading of the host, of which any failure or a reload is one.
    node.daemon.signal("HUP")?;
    let problem = eventually(Duration::from_secs(10), || {
        problem(&node, "neighbour-table-full", "IPv4")?.context("no problem is told")
    })?;
    crowd.leave()?;
    println!("full for {:?}, told after {:?}: {problem:#}", start.elapsed(), full.elapsed());
    let text = problem.to_string();
    ensure!(text.contains("net.ipv4.neigh.default.gc_thresh3"), "{text}");
    ensure!(text.contains("of 1024 entries"), "{text}");
    // And over with the reading after that.
    eventually(PATIENCE, || {
        node.daemon.signal("HUP")?;
        let problem = self::problem(&node, "neighbour-table-full", "IPv4")?;
        ensure!(problem.is_none(), "{problem:?}");
        Ok(())
    })
}
