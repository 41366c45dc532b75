//! The guests that take part, on a real LXD and a real Incus.

use crate::node::{HOST, Node, Site, find_nic, ours, status};
use anyhow::{Result, ensure};
use lab::Kind;

on_lxd_and_incus!(
    profiles_and_projects_narrow_the_selection,
    a_guest_opts_out_and_a_wrong_value_is_a_problem,
    a_managed_network_of_type_macvlan_counts,
);

fn profiles_and_projects_narrow_the_selection(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    site.server.macvlan_profile("other", "eth0")?;
    let project =
        ["project", "create", "shop", "-c", "features.images=false", "-c", "features.profiles=false"];
    site.server.cli(&project)?;
    let chosen = site.server.launch("chosen", &["-p", "mv"])?;
    let wrong_profile = site.server.launch("wrong-profile", &["-p", "other"])?;
    let wrong_project = site.server.launch_in("shop", "wrong-project", &["-p", "mv"])?;
    let config = "[select]\nprofiles = [\"mv\"]\nprojects = [\"default\"]\n";
    let mut node = Node::start_with(&site.host, config)?;
    node.wait_both_ways(&chosen, chosen.ipv4("eth0")?, HOST)?;
    let nic = node.wait_nic(&wrong_profile, "eth0", "unselected")?;
    ensure!(nic["reason"] == "profile", "{nic}");
    let nic = node.wait_nic(&wrong_project, "eth0", "unselected")?;
    ensure!(nic["reason"] == "project", "{nic}");

    // A reload widens it. A guest that leaves the selection loses its route.
    let config = "[select]\nprofiles = [\"other\"]\n";
    site.host.run_with_stdin(&["sh", "-c", "cat > /etc/macvlan-shim/config.toml"], config)?;
    node.daemon.signal("HUP")?;
    node.wait_both_ways(&wrong_profile, wrong_profile.ipv4("eth0")?, HOST)?;
    node.wait_gone(chosen.ipv4("eth0")?)
}

fn a_guest_opts_out_and_a_wrong_value_is_a_problem(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("c1", &["-p", "mv", "-c", "user.macvlan-shim.enabled=no"])?;
    let address = guest.ipv4("eth0")?;
    let nic = node.wait_nic(&guest, "eth0", "unselected")?;
    ensure!(nic["reason"] == "opted-out", "{nic}");
    ensure!(!site.host.pings(address), "a guest that opted out is reached");
    site.server.cli(&["config", "set", "c1", "user.macvlan-shim.enabled", "maybe"])?;
    node.wait_both_ways(&guest, address, HOST)?;
    node.wait("the wrong value is a problem", |status| {
        status["problems"].as_array().is_some_and(|all| all.iter().any(|p| p["code"] == "invalid-opt-out"))
    })?;
    Ok(())
}

fn a_managed_network_of_type_macvlan_counts(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    site.server.cli(&["network", "create", "lan", "--type=macvlan", "parent=eth0"])?;
    let node = Node::start(&site.host)?;
    let guest = site.server.launch("c1", &["-n", "lan"])?;
    node.wait_both_ways(&guest, guest.ipv4("eth0")?, HOST)?;
    let status = status(&site.host)?;
    let nic = find_nic(&status, &kind.to_string().to_lowercase(), "default", "c1", "eth0");
    ensure!(nic.is_some_and(|nic| nic["parent"] == "eth0"), "{status:#}");
    Ok(())
}

/// LXD supports only the mode bridge.
#[test]
fn another_mode_than_bridge_is_unsupported() -> Result<()> {
    let site = Site::new(Kind::Incus)?;
    let node = Node::start(&site.host)?;
    site.server.cli(&["profile", "device", "set", "mv", "eth0", "mode=private"])?;
    let guest = site.server.launch("c1", &["-p", "mv"])?;
    let nic = node.wait_nic(&guest, "eth0", "unsupported")?;
    ensure!(nic["reason"] == "mode", "{nic}");
    ensure!(ours(&site.host)?.is_empty(), "there is a shim that nobody can use");
    Ok(())
}
