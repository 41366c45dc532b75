//! A NIC with so many names that a message about it is too large for the kernel's own lists. When its guest
//! stops, it comes into the host's namespace with all of them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lab::{Daemon, eventually};

use super::{Den, HONEST, HONEST_V6, HOST_IP, HOST_IP6, HOSTILE, HOSTILE_V6, SOON};
use crate::node::{BINARY, HOST, HOST_V6, Node, PATIENCE};

/// As many alternative names as the kernel takes, each as long as possible: 65 KiB in each message about the
/// link.
const NAMES: u32 = 496;

impl Den {
    fn name_at_length(&self) -> Result<()> {
        self.attack(&format!(
            "long=$(printf 'x%.0s' {{1..120}})
             for i in {{1..{NAMES}}}; do echo link property add dev eth0 altname n$i$long; done | ip -batch -"
        ))?;
        let names = self.attack("ip link show dev eth0 | grep -c altname")?;
        ensure!(names.trim() == NAMES.to_string(), "the NIC has {names} alternative names");
        Ok(())
    }

    /// Starts to watch the host's routes and neighbours.
    fn watch(&self) -> Result<Daemon> {
        self.site.host.monitor(&["ip", "-o", "monitor", "route", "neigh"])
    }

    fn is_heard(&self, monitor: &Daemon) -> Result<()> {
        let mark = monitor.mark();
        self.site.host.sh("ip route add blackhole 203.0.113.9; ip route del blackhole 203.0.113.9")?;
        monitor.wait_line_after(mark, "203.0.113.9", Duration::from_millis(500)).map(drop)
    }
}

/// The deletions of the honest guest's routes and neighbours, which no stop of another guest may cause.
fn harm(monitor: &Daemon) -> Vec<String> {
    let honest =
        [HONEST.to_string(), HONEST_V6.to_string()].map(|address| format!("Deleted {address} dev mvs-eth0 "));
    let is_harm = |line: &String| honest.iter().any(|one| line.contains(one));
    monitor.output().into_iter().filter(is_harm).collect()
}

#[test]
fn a_nic_that_comes_home_with_many_names_costs_nobody_a_shim_or_a_route() -> Result<()> {
    let den = Den::new()?;
    let (host, honest_pid) = (&den.site.host, den.honest_pid);
    let shim = host.sh("cat /sys/class/net/mvs-eth0/ifindex /sys/class/net/mvs-eth0/address")?;
    let enter = format!("--target={honest_pid}");
    let enter = ["nsenter", &enter, "--net"];
    let (honest, honest6) = (HONEST.to_string(), HONEST_V6.to_string());
    let pulses = [
        host.pulse(&[], &honest)?,
        host.pulse(&[], &honest6)?,
        host.pulse(&enter, &HOST_IP.to_string())?,
        host.pulse(&enter, &HOST_IP6.to_string())?,
    ];
    // It gives up at the first message that is too large for it.
    let links = host.monitor(&["ip", "-o", "monitor", "link"])?;
    let (monitor, mark, began) = (den.watch()?, den.node.daemon.mark(), SystemTime::now());
    for round in 0..6 {
        den.name_at_length()?;
        if round % 2 == 0 {
            den.hostile.stop()?
        } else {
            den.hostile.stop_hard()?
        }
        den.node.wait_gone(HOSTILE)?;
        den.node.wait_gone(HOSTILE_V6)?;
        den.is_settled()?;
        den.hostile.start()?;
        den.hostile.sh("ip addr add 192.168.77.66/24 dev eth0; ip addr add fd77::66/64 dev eth0")?;
        den.node.wait_both_ways(&den.hostile, HOSTILE, HOST)?;
        den.node.wait_both_ways(&den.hostile, HOSTILE_V6, HOST_V6)?;
    }
    println!("six stops in {:.1?}", began.elapsed()?);
    links.wait_line("Truncated message", PATIENCE).context("no NIC with many names has come home")?;
    den.is_heard(&monitor)?;
    ensure!(harm(&monitor) == Vec::<String>::new(), "{:#?}", harm(&monitor));
    let told = den.node.daemon.output().split_off(mark).join("\n");
    for word in ["delete shim", "create shim", "could not be read", "Deleted"] {
        ensure!(!told.contains(word), "the daemon said {word}:\n{told}");
    }
    let now = host.sh("cat /sys/class/net/mvs-eth0/ifindex /sys/class/net/mvs-eth0/address")?;
    ensure!(now == shim, "the shim is another: {now}, not {shim}");
    for pulse in pulses {
        let lost = pulse.lost()?;
        ensure!(lost == 0, "{lost} pings were lost");
    }
    den.nobody_is_harmed()?;
    den.is_settled()
}

#[test]
fn a_daemon_starts_and_serves_beside_a_nic_with_many_names_that_nobody_takes_away() -> Result<()> {
    let mut den = Den::new()?;
    den.name_at_length()?;
    let (host, pid) = (den.site.host.clone(), den.hostile.pid()?);
    let lengthy = || host.sh(&format!("ip link show | grep -c 'altname n{NAMES}x' || true"));
    // The NIC is still in its guest: a daemon that starts reads the guest's links as well.
    let pulse = host.pulse(&[], &HONEST.to_string())?;
    den.node.daemon.kill()?;
    den.node = Node::start(&host)?;
    den.node.wait_both_ways(&den.hostile, HOSTILE, HOST)?;
    den.nobody_is_harmed()?;
    ensure!(pulse.lost()? == 0, "the honest guest lost pings at a restart of the daemon");

    // Nobody is there to remove it, so it stays with the host.
    den.site.server.stop_daemon()?;
    host.sh(&format!("kill -9 {pid}"))?;
    eventually(SOON, || {
        ensure!(lengthy()?.trim() == "1", "no NIC has come back");
        Ok(())
    })?;
    den.is_settled()?;
    let pulse = host.pulse(&[], &HONEST.to_string())?;
    for _ in 0..3 {
        den.node.daemon.kill()?;
        den.node = Node::start(&host).context("a daemon beside the NIC")?;
        // Changes of the honest guest are now seen and served.
        den.honest_is_reached()?;
        den.is_settled()?;
    }
    ensure!(pulse.lost()? == 0, "the honest guest lost pings at a restart of the daemon");

    // It also starts from nothing. The guest is served again as soon as its server says that it is one.
    den.node.daemon.kill()?;
    host.run(&[BINARY, "cleanup"])?;
    den.node = Node::start(&host).context("a daemon that has to make its shim")?;
    den.site.server.start_daemon()?;
    den.node.wait_both_ways(&den.honest, HONEST, HOST)?;
    den.node.wait_both_ways(&den.honest, HONEST_V6, HOST_V6)?;
    ensure!(host.ok("ip link show mvs-eth0"), "there is no shim");
    den.nobody_is_harmed()?;
    den.is_settled()
}
