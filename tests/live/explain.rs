//! `explain` on real servers: the cause and the cure of the main faults, each in one command.

use std::net::IpAddr;

use crate::node::{BINARY, HOST, Node, PATIENCE, Site};
use anyhow::{Context, Result, ensure};
use lab::{Kind, Machine, eventually};
use serde_json::Value;

on_lxd_and_incus!(
    a_guest_that_is_reached_answers_and_every_step_is_good,
    a_guest_that_is_not_ours_is_told_with_its_way_to_the_host,
);

/// Explains a subject: the exit status and the text.
fn explain(host: &Machine, subject: &str) -> Result<(i32, String)> {
    let output = host.command(BINARY).args(["explain", subject]).output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(out.lines().all(|line| line.chars().count() <= 200), "{out}");
    Ok((output.status.code().unwrap_or(-1), format!("{out}{err}")))
}

/// The states of the steps of the only address that is explained, by their names.
fn states(host: &Machine, subject: &str) -> Result<Value> {
    let output = host.command(BINARY).args(["explain", "--json", subject]).output()?;
    let json: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let explanation = &json["explanations"][0];
    let shared = explanation["steps"].as_array().cloned().unwrap_or_default();
    let own = explanation["addresses"][0]["steps"].as_array().cloned().unwrap_or_default();
    let states = shared.into_iter().chain(own);
    let state = |step: Value| Some((step["name"].as_str()?.to_owned(), step["state"].clone()));
    Ok(Value::Object(states.filter_map(state).collect()))
}

fn a_guest_that_is_reached_answers_and_every_step_is_good(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let node = Node::start(&site.host)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let address: IpAddr = "192.168.77.101".parse()?;
    node.wait_both_ways(&guest, address, HOST)?;
    for subject in ["c1", "192.168.77.101"] {
        let (exit, text) = explain(&site.host, subject)?;
        ensure!(exit == 0 && text.contains("and this host reach each other"), "{text}");
        ensure!(text.contains("the kernel agrees") && text.contains("it answered after"), "{text}");
        ensure!(text.contains("eth0 is a macvlan NIC on eth0, from the profile mv\n"), "{text}");
    }
    site.server.cli(&["config", "device", "override", "c1", "eth0"])?;
    let (_, text) = explain(&site.host, "c1")?;
    ensure!(text.contains("eth0 is a macvlan NIC on eth0, from the guest's own configuration\n"), "{text}");
    let all = states(&site.host, "c1")?;
    for step in ["server", "nic", "selected", "parent", "child", "address", "route", "neighbour", "guest"] {
        ensure!(all[step] == "good", "{step}: {all:#}");
    }
    let mac = node.status()?["guests"][0]["nics"][0]["mac"].as_str().context("a MAC")?.to_owned();
    let (exit, text) = explain(&site.host, &mac)?;
    ensure!(exit == 0 && text.contains("c1 eth0"), "{text}");

    // The guest's own firewall: everything of ours is right.
    guest.sh("ip route add blackhole 192.168.77.11/32")?;
    let (exit, text) = explain(&site.host, "c1")?;
    ensure!(exit == 1 && text.contains("it did not answer") && text.contains("exec c1 -- ping"), "{text}");
    guest.sh("ip route del blackhole 192.168.77.11/32")?;

    // Another rule wins.
    site.host.sh("ip rule add to 192.168.77.101 priority 10 blackhole")?;
    eventually(PATIENCE, || {
        let (exit, text) = explain(&site.host, "c1")?;
        ensure!(
            exit == 1 && (text.contains("take another way") || text.contains("routed-elsewhere")),
            "{text}"
        );
        Ok(())
    })?;
    Ok(())
}

fn a_guest_that_is_not_ours_is_told_with_its_way_to_the_host(kind: Kind) -> Result<()> {
    let site = Site::new(kind)?;
    let _node = Node::start(&site.host)?;
    site.launch_bridged("br1")?;
    let (exit, text) = explain(&site.host, "br1")?;
    let expected = "its NIC eth0 is bridged on br9; it reaches this host at 10.9.9.1 without macvlan-shim";
    ensure!(exit == 0 && text.contains(expected), "{text}");
    let (exit, text) = explain(&site.host, "br2")?;
    ensure!(
        exit == 1 && text.contains("no guest is called br2") && text.contains("did you mean br1?"),
        "{text}"
    );
    let (exit, text) = explain(&site.host, "192.168.77.200")?;
    ensure!(exit == 1 && text.contains("no guest has it now"), "{text}");
    Ok(())
}

/// What is told without a daemon is what the daemon would do.
#[test]
fn without_a_daemon_it_looks_for_itself() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let (exit, text) = explain(&site.host, "c1")?;
    ensure!(exit == 1 && text.starts_with("No daemon runs"), "{text}");
    ensure!(text.contains("its shim mvs-eth0 does not exist yet"), "{text}");
    ensure!(text.contains("Cure: start the daemon\n  systemctl start macvlan-shimd\n"), "{text}");
    let mut node = Node::start(&site.host)?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    node.daemon.stop()?;
    let (exit, text) = explain(&site.host, "c1")?;
    ensure!(exit == 0 && text.contains("and this host reach each other"), "{text}");
    Ok(())
}
