//! One command, and nothing to configure.

use std::time::Instant;

use anyhow::{Result, ensure};
use lab::{Kind, until};

use crate::node::{Node, PATIENCE, UNIT};

on_lxd_and_incus!(the_package_is_installed_and_a_guest_is_reached, a_reboot_brings_everything_back);

fn the_package_is_installed_and_a_guest_is_reached(kind: Kind) -> Result<()> {
    let node = Node::new(Some(kind))?;
    let guest = node.launch(kind)?;
    ensure!(!node.host.pings(guest.ipv4("eth0")?), "the kernel's rule that this is about");
    node.install()?;
    let start = Instant::now();
    node.meets(&guest)?;
    println!("reached {} ms after the installation", start.elapsed().as_millis());
    node.host.wait_unit(UNIT, "active")?;
    ensure!(node.host.sh(&format!("systemctl is-enabled {UNIT}"))? == "enabled\n");
    let status = node.wait("it is ready", |status| status["ready"] == true)?;
    ensure!(status["problems"].as_array().is_some_and(Vec::is_empty), "{status:#}");
    // Managers of links leave ours alone, and people can see whose the routes are.
    // A manager that is busy looks at a new link a little later.
    until(PATIENCE, "networkd leaves the shim alone", || {
        node.host.sh("networkctl list mvs-eth0").is_ok_and(|said| said.contains("unmanaged"))
    })?;
    ensure!(node.host.sh("ip route")?.contains("proto macvlan-shim"), "{}", node.picture());
    let complete = r#"source /usr/share/bash-completion/completions/macvlan-shim
                      COMP_WORDS=(macvlan-shim explain "") COMP_CWORD=2
                      _macvlan__shim macvlan-shim "" explain; echo "${COMPREPLY[@]}""#;
    let names = node.host.sh(&format!("bash -c '{complete}'"))?;
    ensure!(names.split_whitespace().any(|name| name == guest.name()), "completed: {names}");
    let last = "/var/lib/dpkg/info/macvlan-shim.postinst configure 0.1.0-1 2>&1 | tail -n 1";
    let said = node.host.sh(last)?;
    ensure!(said.ends_with(": the running guest is reachable\n"), "the end of the installation: {said}");
    Ok(())
}

fn a_reboot_brings_everything_back(kind: Kind) -> Result<()> {
    let mut node = Node::new(Some(kind))?;
    let guest = node.launch(kind)?;
    node.install()?;
    node.meets(&guest)?;
    let shim = node.host.sh("cat /sys/class/net/mvs-eth0/address")?;
    node.host.reboot()?;
    until(PATIENCE, "the server has started its guest", || guest.pid().is_ok())?;
    guest.wait_for_boot()?;
    node.meets(&guest)?;
    ensure!(node.host.sh("cat /sys/class/net/mvs-eth0/address")? == shim, "the shim has another MAC");
    Ok(())
}

/// The lab's Debian had LXD, which has given root ids. Here somebody else has the only ones.
const NEVER_HAD_A_SERVER: &str = "userdel _lxd; getent group lxd && groupdel lxd
    for file in /etc/subuid /etc/subgid; do echo someone:2000000:65536 > $file; done
    ! getent group lxd incus incus-admin";
/// The ids that Incus's own package would give.
const ROOT_IDS: &str = "root:2065537:1000000000\n";

#[test]
fn without_a_server_it_waits_and_says_so_and_finds_one_that_is_installed_later() -> Result<()> {
    let node = Node::new(None)?;
    node.host.sh(NEVER_HAD_A_SERVER)?;
    node.install()?;
    node.host.wait_unit(UNIT, "active")?;
    until(PATIENCE, "it says so", || {
        node.unit("StatusText").is_ok_and(|text| text == "1 problem, waiting for an LXD or Incus server")
    })?;
    let status = node.wait("it is ready", |status| status["ready"] == true)?;
    let states: Vec<_> = status["servers"].as_array().into_iter().flatten().map(|s| &s["state"]).collect();
    ensure!(!states.is_empty() && states.iter().all(|state| **state == "absent"), "{status:#}");
    let process = node.unit("MainPID")?;
    let ids = node.host.sh("grep -h ^root: /etc/subuid /etc/subgid")?;
    ensure!(ids == ROOT_IDS.repeat(2), "Incus will give none where there is its group: {ids}");

    node.host.install_incus()?;
    let guest = node.launch(Kind::Incus)?;
    node.meets(&guest)?;
    ensure!(node.host.sh("grep -h ^root: /etc/subuid /etc/subgid")? == ids, "Incus has given others");
    let map = node.host.sh(&format!("cat /proc/{}/uid_map", guest.pid()?))?;
    ensure!(map.split_whitespace().collect::<Vec<_>>() == ["0", "2065537", "1000000000"], "{map}");
    until(PATIENCE, "it counts the guests that are reached", || {
        node.unit("StatusText").is_ok_and(|text| text == "1 of 1 guests reachable")
    })?;
    ensure!(node.unit("MainPID")? == process, "it was restarted");
    Ok(())
}
