//! The life of guests on a real LXD and a real Incus. Whatever they do, they and their host reach each other
//! exactly as long as they should.

use std::net::IpAddr;

use crate::node::{HOST, HOST_V6, Node, PATIENCE, Site, ours, routes};
use anyhow::{Result, ensure};
use lab::Kind;

on_lxd_and_incus!(
    a_guest_is_reached_whether_it_came_before_or_after_the_daemon,
    stopping_starting_restarting_pausing_and_renaming,
    an_ephemeral_guest_leaves_nothing_when_it_stops,
    addresses_set_by_hand_come_and_go,
    two_nics_on_two_parents,
    the_same_name_in_two_projects,
    a_nic_is_plugged_and_unplugged_while_the_guest_runs,
    a_profile_is_edited_while_guests_use_it,
);

fn a_guest_is_reached_whether_it_came_before_or_after_the_daemon(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let early = site.server.launch("early", &["-p", "mv"])?;
    let (early_v4, early_v6) = (early.ipv4("eth0")?, early.ipv6("eth0")?);
    ensure!(
        !site.host.pings(early_v4),
        "the kernel alone lets the host reach its guest: the test proves nothing"
    );

    let node = Node::start(&site.host)?;
    node.wait_both_ways(&early, early_v4, HOST)?;
    node.wait_both_ways(&early, early_v6, HOST_V6)?;

    let late = site.server.launch("late", &["-p", "mv"])?;
    let (late_v4, late_v6) = (late.ipv4("eth0")?, late.ipv6("eth0")?);
    node.wait_both_ways(&late, late_v4, HOST)?;
    node.wait_both_ways(&late, late_v6, HOST_V6)?;

    ensure!(
        early.pings(late_v4) && site.peer.pings(early_v4) && site.peer.pings(late_v6),
        "the LAN was disturbed"
    );
    ensure!(site.peer.pings("192.168.77.11".parse::<IpAddr>()?), "the peer no longer reaches the host");
    late.delete()?;
    node.wait_gone(late_v4)?;
    node.wait_gone(late_v6)?;
    node.wait_both_ways(&early, early_v4, HOST)?;
    early.delete()?;
    lab::eventually(PATIENCE, || {
        let left = ours(&site.host)?;
        ensure!(left.is_empty(), "left behind: {left}");
        Ok(())
    })
}

fn stopping_starting_restarting_pausing_and_renaming(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("c1", &["-p", "mv"])?;
    let address = guest.ipv4("eth0")?;
    node.wait_both_ways(&guest, address, HOST)?;

    guest.pause()?;
    node.wait_address(&guest, address, "routed")?;
    guest.resume()?;
    node.wait_both_ways(&guest, address, HOST)?;

    guest.restart()?;
    let address = guest.ipv4("eth0")?;
    node.wait_both_ways(&guest, address, HOST)?;

    guest.stop()?;
    node.wait_nic(&guest, "eth0", "stopped")?;
    node.wait_gone(address)?;

    site.server.cli(&["rename", "c1", "c2"])?;
    let renamed = site.server.guest("c2");
    node.wait_nic(&renamed, "eth0", "stopped")?;
    renamed.start()?;
    let address = renamed.ipv4("eth0")?;
    node.wait_both_ways(&renamed, address, HOST)?;

    renamed.power_off();
    node.wait_nic(&renamed, "eth0", "stopped")?;
    node.wait_gone(address)
}

fn an_ephemeral_guest_leaves_nothing_when_it_stops(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("brief", &["-p", "mv", "--ephemeral"])?;
    let address = guest.ipv4("eth0")?;
    node.wait_both_ways(&guest, address, HOST)?;
    guest.stop_hard()?;
    node.wait_gone(address)?;
    node.wait("the guest is no longer listed", |status| status["guests"] == serde_json::json!([]))?;
    Ok(())
}

fn addresses_set_by_hand_come_and_go(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &[])?;
    node.wait_nic(&guest, "eth0", "waiting")?;

    guest.sh("ip addr add 192.168.77.101/24 dev eth0; ip addr add 192.168.77.102/24 dev eth0")?;
    guest.sh("ip addr add fd77::101/64 dev eth0; ip addr add fd77::102/64 dev eth0")?;
    for (address, host) in
        [("192.168.77.101", HOST), ("192.168.77.102", HOST), ("fd77::101", HOST_V6), ("fd77::102", HOST_V6)]
    {
        node.wait_both_ways(&guest, address.parse::<IpAddr>()?, host)?;
    }
    guest.sh("ip addr del 192.168.77.101/24 dev eth0; ip addr del fd77::102/64 dev eth0")?;
    node.wait_gone("192.168.77.101".parse::<IpAddr>()?)?;
    node.wait_gone("fd77::102".parse::<IpAddr>()?)?;
    node.wait_both_ways(&guest, "fd77::101".parse::<IpAddr>()?, HOST_V6)?;

    // Not every address that a guest claims is routed.
    guest.sh("ip addr add 8.8.8.8/32 dev eth0; ip addr add 192.168.77.11/32 dev eth0")?;
    let refused = node.wait_address(&guest, "8.8.8.8".parse::<IpAddr>()?, "refused")?;
    ensure!(refused["reason"] == "off-link", "{refused}");
    let refused = node.wait_address(&guest, HOST.parse::<IpAddr>()?, "refused")?;
    ensure!(refused["reason"] == "host-address", "{refused}");
    guest.sh("ip addr add 192.168.77.1/24 dev eth0")?;
    let refused = node.wait_address(&guest, "192.168.77.1".parse::<IpAddr>()?, "refused")?;
    ensure!(refused["reason"] == "next-hop", "{refused}");
    Ok(())
}

fn two_nics_on_two_parents(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let second = site.lab.lan("10.88.0.0/24", "fd88::/64")?;
    second.dhcp()?;
    site.host.plug("eth1", &second, &["10.88.0.11/24", "fd88::11/64"])?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("c1", &["-p", "mv"])?;
    site.server.cli(&["config", "device", "add", "c1", "eth1", "nic", "nictype=macvlan", "parent=eth1"])?;
    guest.restart()?;
    let (first, other) = (guest.ipv4("eth0")?, guest.ipv4("eth1")?);
    node.wait_both_ways(&guest, first, HOST)?;
    node.wait_both_ways(&guest, other, "10.88.0.11")?;
    node.wait_both_ways(&guest, guest.ipv6("eth1")?, "fd88::11")?;
    let status = node.wait("two shims are up", |status| {
        status["shims"]
            .as_array()
            .is_some_and(|shims| shims.len() == 2 && shims.iter().all(|s| s["state"] == "up"))
    })?;
    ensure!(
        status["shims"][0]["name"] == "mvs-eth0" && status["shims"][1]["name"] == "mvs-eth1",
        "{status:#}"
    );
    // Two NICs on one parent, each with its own address.
    site.server.cli(&["config", "device", "add", "c1", "eth2", "nic", "nictype=macvlan", "parent=eth0"])?;
    let third = guest.ipv4("eth2")?;
    ensure!(third != first, "one lease for two NICs");
    node.wait_address(&guest, third, "routed")?;
    ensure!(site.host.reaches(third, PATIENCE), "the second NIC on one parent is not reached");
    Ok(())
}

fn the_same_name_in_two_projects(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let project =
        ["project", "create", "shop", "-c", "features.images=false", "-c", "features.profiles=false"];
    site.server.cli(&project)?;
    let one = site.server.launch("web", &["-p", "mv"])?;
    let two = site.server.launch_in("shop", "web", &["-p", "mv"])?;
    let (first, second) = (one.ipv4("eth0")?, two.ipv4("eth0")?);
    node.wait_both_ways(&one, first, HOST)?;
    node.wait_both_ways(&two, second, HOST)?;
    one.delete()?;
    node.wait_gone(first)?;
    node.wait_both_ways(&two, second, HOST)
}

fn a_nic_is_plugged_and_unplugged_while_the_guest_runs(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("c1", &[])?;
    site.server.cli(&["config", "device", "add", "c1", "eth0", "nic", "nictype=macvlan", "parent=eth0"])?;
    let address = guest.ipv4("eth0")?;
    node.wait_both_ways(&guest, address, HOST)?;
    site.server.cli(&["config", "device", "remove", "c1", "eth0"])?;
    node.wait_gone(address)?;
    node.wait("the guest has no macvlan NIC", |status| status["guests"] == serde_json::json!([]))?;
    ensure!(routes(&site.host)?.is_empty(), "routes are left");
    Ok(())
}

fn a_profile_is_edited_while_guests_use_it(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("c1", &["-p", "mv"])?;
    let address = guest.ipv4("eth0")?;
    node.wait_both_ways(&guest, address, HOST)?;

    site.server.cli(&["profile", "set", "mv", "user.macvlan-shim.enabled", "false"])?;
    node.wait_nic(&guest, "eth0", "unselected")?;
    node.wait_gone(address)?;
    ensure!(site.peer.pings(address), "the guest itself suffered");
    site.server.cli(&["profile", "unset", "mv", "user.macvlan-shim.enabled"])?;
    node.wait_both_ways(&guest, address, HOST)?;

    site.server.cli(&["profile", "device", "remove", "mv", "eth0"])?;
    node.wait_gone(address)?;
    site.server.cli(&["profile", "device", "add", "mv", "eth0", "nic", "nictype=macvlan", "parent=eth0"])?;
    let address = guest.ipv4("eth0")?;
    node.wait_both_ways(&guest, address, HOST)
}

#[test]
fn lxd_and_incus_on_one_host() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let incus = site.host.incus()?;
    incus.macvlan_profile("mv", "eth0")?;
    let node = Node::start(&site.host)?;
    let one = site.server.launch("web", &["-p", "mv"])?;
    let two = incus.launch("web", &["-p", "mv"])?;
    let (first, second) = (one.ipv4("eth0")?, two.ipv4("eth0")?);
    node.wait_both_ways(&one, first, HOST)?;
    node.wait_both_ways(&two, second, HOST)?;
    let status = node.status()?;
    ensure!(status["shims"].as_array().is_some_and(|shims| shims.len() == 1), "{status:#}");
    ensure!(status["shims"][0]["nics"] == 2, "{status:#}");
    // One server goes. The other's guest does not notice, and the routes of the first one's guest stay while
    // the kernel shows it.
    let pid = one.pid()?;
    site.server.stop_daemon()?;
    node.wait("LXD is absent", |status| {
        status["servers"]
            .as_array()
            .is_some_and(|all| all.iter().any(|s| s["id"] == "lxd" && s["state"] == "absent"))
    })?;
    let from_guest = format!("nsenter --target={pid} --net ping -q -c 1 -W 1 {HOST}");
    ensure!(site.host.pings(first), "the guest of the stopped server is not reached");
    ensure!(site.host.ok(&from_guest), "the guest of the stopped server no longer reaches its host");
    two.delete()?;
    node.wait_gone(second)?;
    ensure!(site.host.pings(first) && site.host.ok(&from_guest), "the other server's guest suffered");
    Ok(())
}
