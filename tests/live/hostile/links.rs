//! What root does to the links of its guest, and to those that it makes.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{eventually, until};

use super::{Den, HOSTILE, HOSTILE_V6, SOON};
use crate::node::{BINARY, HOST, HOST_V6, PATIENCE, ours};

fn mac_of(den: &Den, link: &str) -> Result<String> {
    Ok(den.site.host.sh(&format!("cat /sys/class/net/{link}/address"))?.trim().to_owned())
}

#[test]
fn the_shims_mac_on_a_link_of_a_guest_only_moves_the_shim_on() -> Result<()> {
    let den = Den::new()?;
    let first = mac_of(&den, "mvs-eth0")?;
    // While the shim stands, nobody else gets its MAC: not on the NIC, not on a link on top of it.
    ensure!(den.attack(&format!("ip link set eth0 address {first}")).is_err(), "the NIC has the shim's MAC");
    den.attack("ip link add nested link eth0 type macvlan mode bridge")?;
    den.attack(&format!("ip link set nested address {first}"))?;
    ensure!(den.attack("ip link set nested up").is_err(), "two links up with one MAC");
    den.nobody_is_harmed()?;

    // It snatches the MAC in the moment in which the shim is gone.
    den.attack("nohup bash -c 'until ip link set nested up; do :; done' >/dev/null 2>&1 &")?;
    den.site.host.sh("ip link del mvs-eth0")?;
    let snatched =
        until(SOON, "the guest has the MAC", || den.attack("ip -o link show up nested | grep -q .").is_ok());
    if snatched.is_err() {
        // The daemon is faster. Then the guest is to have all the time that it needs.
        den.site.host.sh("ip link set mvs-eth0 down; ip link set mvs-eth0 address 02:00:00:00:00:79")?;
    }
    eventually(SOON, || {
        let now = mac_of(&den, "mvs-eth0")?;
        println!("the shim had {first} and has {now}");
        Ok(())
    })?;
    den.nobody_is_harmed()?;
    den.is_settled()
}

#[test]
fn a_mac_that_was_taken_beforehand_costs_the_shim_only_that_mac() -> Result<()> {
    let mut den = Den::new()?;
    let first = mac_of(&den, "mvs-eth0")?;
    // One is to be seen by the daemon; the other is in a namespace of which the host knows nothing.
    for (what, hide) in [("seen", ""), ("unseen", "ip netns add deep; ip link set nested netns deep")] {
        den.node.daemon.kill()?;
        den.site.host.run(&[BINARY, "cleanup"])?;
        let script = format!(
            "ip link add nested link eth0 address {first} type macvlan mode bridge\n{}",
            if hide.is_empty() { "ip link set nested up".to_owned() } else { deep(&first) }
        );
        den.attack(&script)?;
        den.node = crate::node::Node::start(&den.site.host)?;
        den.nobody_is_harmed()?;
        let now = mac_of(&den, "mvs-eth0")?;
        ensure!(now != first, "two links have {first}");
        let told = den.node.daemon.output().join("\n");
        println!("{what}: {now}; told: {}", told.contains("mac-taken"));
        den.is_settled()?;
        den.attack("ip link del nested 2>/dev/null || true; pkill -P 1 sleep 2>/dev/null || true")?;
    }
    Ok(())
}

/// A link with that MAC, up in a namespace within the guest's.
fn deep(mac: &str) -> String {
    format!(
        "ip link del nested\nunshare --net sleep 600 >/dev/null 2>&1 & deep=$!\n\
         for i in $(seq 100); do [ $(readlink /proc/$deep/ns/net) != $(readlink /proc/$$/ns/net) ] && break; sleep 0.05; done\n\
         ip link add nested link eth0 address {mac} netns $deep type macvlan mode bridge\n\
         nsenter --target=$deep --net ip link set nested up"
    )
}

#[test]
fn macs_and_modes_that_flip_all_the_time_are_the_flippers_own_loss() -> Result<()> {
    let den = Den::new()?;
    let target = format!("--target={}", den.hostile.pid()?);
    let flip = "i=0; while :; do i=$((i + 1))
        ip link set eth0 address $(printf 02:66:66:66:%02x:%02x $((i / 256 % 256)) $((i % 256)))
        ip link set eth0 type macvlan mode private; ip link set eth0 type macvlan mode vepa
        ip link set eth0 type macvlan mode bridge; ip link set eth0 down; ip link set eth0 up
        ip addr replace 192.168.77.66/24 dev eth0; ip addr replace fd77::66/64 dev eth0 nodad
        echo $i; done";
    let mark = den.node.daemon.mark();
    let mut flips = den.site.host.spawn(&["nsenter", &target, "--user", "--net", "bash", "-c", flip])?;
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        den.nobody_is_harmed()?;
    }
    flips.kill()?;
    let rounds = flips.stdout().iter().filter_map(|line| line.parse::<u32>().ok()).max().unwrap_or(0);
    ensure!(rounds > 10, "there were {rounds} rounds");
    println!("{rounds} rounds, {} lines of log", den.node.daemon.output().len() - mark);
    // It stops, and is a guest like any other.
    den.attack(
        "ip link set eth0 type macvlan mode bridge; ip link set eth0 up
         ip addr replace 192.168.77.66/24 dev eth0; ip addr replace fd77::66/64 dev eth0 nodad",
    )?;
    den.node.wait_both_ways(&den.hostile, HOSTILE, HOST)?;
    den.node.wait_both_ways(&den.hostile, HOSTILE_V6, HOST_V6)?;
    den.nobody_is_harmed()?;
    den.is_settled()
}

/// A guest's NIC comes back to the host when the guest ends, with the group and the alias that its root gave it.
#[test]
fn a_nic_that_comes_back_marked_as_ours_is_not_taken_for_a_shim() -> Result<()> {
    let den = Den::new()?;
    let shim = den.site.host.sh("ip -o link show mvs-eth0")?;
    den.attack("ip link set eth0 group 7173; ip link set eth0 alias 'macvlan-shim 02:66:66:66:66:66'")?;
    den.is_settled()?;
    let pid = den.hostile.pid()?;
    // Nobody is there who would take it away: it stays with the host.
    den.site.server.stop_daemon()?;
    den.site.host.sh(&format!("kill -9 {pid}"))?;
    let left = eventually(SOON, || {
        let links = den.site.host.sh("ip -o link show group 7173")?;
        let left = links.lines().find(|link| link.contains(": mac")).map(str::to_owned);
        left.with_context(|| format!("no NIC has come back: {links}"))
    })?;
    println!("it came back as {left}");
    let name = left.split([' ', '@']).nth(1).context("no name")?.to_owned();
    den.is_settled()?;
    ensure!(den.site.host.ok(&format!("ip link show {name}")), "the link of another was deleted");
    ensure!(den.site.host.sh("ip -o link show mvs-eth0")? == shim, "the shim is another");
    den.honest_is_reached()?;

    // Not even where no shim stands that could be told from it.
    den.site.host.sh("ip link del mvs-eth0")?;
    den.honest_is_reached()?;
    ensure!(mac_of(&den, "mvs-eth0")? != "02:66:66:66:66:66", "the guest chose the shim's MAC");
    ensure!(den.site.host.ok(&format!("ip link show {name}")), "the link of another was taken");
    let mut node = den.node;
    node.daemon.kill()?;
    den.site.host.run(&[BINARY, "cleanup"])?;
    ensure!(den.site.host.ok(&format!("ip link show {name}")), "cleanup deleted the link of another");
    let node = crate::node::Node::start(&den.site.host)?;
    den.site.server.start_daemon()?;
    node.wait_both_ways(&den.honest, super::HONEST, HOST)?;
    Ok(())
}

#[test]
fn a_marked_nic_makes_no_trouble_on_its_way_home() -> Result<()> {
    let den = Den::new()?;
    for _ in 0..3 {
        den.attack("ip link set eth0 group 7173; ip link set eth0 alias 'macvlan-shim 02:66:66:66:66:66'")?;
        den.attack("ip link set eth0 down; ip link set eth0 name mvs-eth0; ip link set mvs-eth0 up")?;
        den.honest_is_reached()?;
        let mark = den.node.daemon.mark();
        den.hostile.stop_hard()?;
        den.honest_is_reached()?;
        let told = den.node.daemon.output().split_off(mark.min(den.node.daemon.output().len())).join("\n");
        ensure!(!told.contains("delete shim") && !told.contains("rename"), "{told}");
        den.is_settled()?;
        den.hostile.start()?;
        den.hostile.sh("ip addr add 192.168.77.66/24 dev eth0")?;
        den.node.wait_both_ways(&den.hostile, "192.168.77.66".parse::<IpAddr>()?, HOST)?;
    }
    den.hostile.stop_hard()?;
    den.honest.stop_hard()?;
    eventually(PATIENCE, || {
        let left = ours(&den.site.host)?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })
}
