//! The things that root does to the links of its guest, and to those that it makes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Share, eventually};

use super::{Den, HOSTILE, HOSTILE_V6, SOON};
use crate::node::{BINARY, HOST, HOST_V6, Node, PATIENCE, ours};

fn mac_of(den: &Den, link: &str) -> Result<String> {
    Ok(den.site.host.sh(&format!("cat /sys/class/net/{link}/address"))?.trim().to_owned())
}

#[test]
fn a_guest_does_not_get_the_mac_of_an_existing_shim() -> Result<()> {
    let den = Den::new()?;
    let mac = mac_of(&den, "mvs-eth0")?;
    let take = |link: &str| den.attack(&format!("ip link set {link} address {mac}; ip link set {link} up"));
    den.attack("ip link add nested link eth0 type macvlan mode bridge")?;
    for link in ["eth0", "nested"] {
        ensure!(take(link).is_err(), "{link} of the guest has the shim's MAC");
        den.attack(&format!("ip link set {link} up"))?;
        den.nobody_is_harmed()?;
    }
    ensure!(mac_of(&den, "mvs-eth0")? == mac, "the shim has another MAC");
    Ok(())
}

#[test]
fn a_shim_whose_mac_was_taken_before_gets_another_one() -> Result<()> {
    let mut den = Den::new()?;
    let first = mac_of(&den, "mvs-eth0")?;
    // The daemon sees one of them. The other is in a namespace that the host knows nothing about.
    let seen = format!(
        "ip link add nested link eth0 address {first} type macvlan mode bridge; ip link set nested up"
    );
    for (what, script) in [("seen", seen), ("unseen", deep(&first))] {
        den.node.daemon.kill()?;
        den.site.host.run(&[BINARY, "cleanup"])?;
        den.attack(&script)?;
        den.node = Node::start(&den.site.host)?;
        // The guest has to forget the old MAC first. That takes its kernel some seconds.
        den.honest.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
        den.nobody_is_harmed()?;
        let now = mac_of(&den, "mvs-eth0")?;
        ensure!(now != first, "two links have {first}");
        let told = den.node.daemon.output();
        println!("{what}: the shim has {now}; {told:#?}");
        let told: Vec<&String> = told.iter().filter(|line| line.contains("another MAC")).collect();
        ensure!(told.is_empty() == (what == "seen"), "the problems were {told:#?}");
        den.is_settled()?;
        den.attack("ip link del nested || true")?;
    }
    Ok(())
}

/// A link that is down may have any MAC. It must not pass for the NIC of the guest with that MAC.
#[test]
fn the_mac_of_another_guest_on_a_link_that_is_down_gets_a_guest_nothing() -> Result<()> {
    let mut den = Den::new()?;
    let mac = den.honest.mac("eth0")?;
    let nested = format!(
        "ip link add nested link eth0 address {mac} type macvlan mode bridge
         ip addr add 192.168.77.67/24 dev nested; ip addr add fd77::67/64 dev nested nodad"
    );
    den.attack(&nested)?;
    den.nobody_is_harmed()?;
    // The hostile one comes first, and the daemon does not know which was which.
    den.honest.stop_hard()?;
    den.hostile.restart()?;
    den.attack(&nested)?;
    den.honest.start()?;
    den.honest_pid = den.honest.pid()?;
    den.honest.sh("ip addr add 192.168.77.101/24 dev eth0; ip addr add fd77::101/64 dev eth0")?;
    den.nobody_is_harmed()?;
    den.node.daemon.kill()?;
    den.site.host.run(&[BINARY, "cleanup"])?;
    den.node = Node::start(&den.site.host)?;
    den.nobody_is_harmed()?;
    ensure!(den.loot()? == Vec::<String>::new(), "routed are {:?}", den.loot()?);
    den.is_settled()
}

/// A link with that MAC, up in a namespace inside the guest's, which ends with the guest.
fn deep(mac: &str) -> String {
    format!(
        "here=$(readlink /proc/$$/ns/net)\nunshare --net sleep 600 </dev/null >/dev/null 2>&1 &\n\
         until [ \"$(readlink /proc/$!/ns/net)\" != \"$here\" ]; do sleep 0.01; done\n\
         ip link add deep link eth0 address {mac} netns $! type macvlan mode bridge\n\
         nsenter --target=$! --net ip link set deep up"
    )
}

#[test]
fn macs_and_modes_that_keep_flipping_harm_only_their_own_guest() -> Result<()> {
    let den = Den::with(Share::Half)?;
    let target = format!("--target={}", den.hostile.pid()?);
    let flip = "i=0; while :; do i=$((i + 1))
        ip link set eth0 address $(printf 02:66:66:66:%02x:%02x $((i / 256 % 256)) $((i % 256)))
        ip link set eth0 type macvlan mode private; ip link set eth0 type macvlan mode vepa
        ip link set eth0 type macvlan mode bridge; ip link set eth0 down; ip link set eth0 up
        ip addr replace 192.168.77.66/24 dev eth0; ip addr replace fd77::66/64 dev eth0 nodad
        echo $i; done";
    let mark = den.node.daemon.mark();
    let (began, used) = (Instant::now(), den.node.processor_time()?);
    let mut flips = den.site.host.spawn(&["nsenter", &target, "--user", "--net", "bash", "-c", flip])?;
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        den.nobody_is_harmed()?;
    }
    flips.kill()?;
    let rounds = flips.stdout().iter().filter_map(|line| line.parse::<u32>().ok()).max().unwrap_or(0);
    ensure!(rounds > 10, "there were {rounds} rounds");
    let (lasted, used) = (began.elapsed(), den.node.processor_time()? - used);
    println!(
        "{rounds} rounds in {lasted:.1?}: {} lines of log, {used:?} of a processor",
        den.node.daemon.output().len() - mark
    );
    ensure!(used < lasted / 2, "it takes {used:?} of {lasted:?}");
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

/// A guest's NIC comes back to the host when the guest ends, with the group and the alias that its root gave
/// it.
#[test]
fn a_nic_that_comes_back_marked_as_ours_is_not_taken_for_a_shim() -> Result<()> {
    let den = Den::new()?;
    let shim = den.site.host.sh("ip -o link show mvs-eth0")?;
    den.attack("ip link set eth0 group 7173; ip link set eth0 alias 'macvlan-shim 02:66:66:66:66:66'")?;
    den.is_settled()?;
    let pid = den.hostile.pid()?;
    // Nobody is there to remove it, so it stays with the host.
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

    // Not even when no shim exists beside it.
    den.site.host.sh("ip link del mvs-eth0")?;
    den.honest_is_reached()?;
    ensure!(mac_of(&den, "mvs-eth0")? != "02:66:66:66:66:66", "the guest chose the shim's MAC");
    ensure!(den.site.host.ok(&format!("ip link show {name}")), "the link of another was taken");
    let mut node = den.node;
    node.daemon.kill()?;
    den.site.host.run(&[BINARY, "cleanup"])?;
    ensure!(den.site.host.ok(&format!("ip link show {name}")), "cleanup deleted the link of another");
    let node = Node::start(&den.site.host)?;
    den.site.server.start_daemon()?;
    node.wait_both_ways(&den.honest, super::HONEST, HOST)?;
    Ok(())
}

#[test]
fn a_marked_nic_on_its_way_home_does_no_harm() -> Result<()> {
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
