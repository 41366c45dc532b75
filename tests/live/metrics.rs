//! The numbers of a real daemon: they agree with its status, and count what happens.

use anyhow::{Context, Result, ensure};
use lab::{Kind, eventually};
use serde_json::Value;

use crate::node::{BINARY, HOST, Node, PATIENCE, Site};

const GUEST: &str = "192.168.77.101";

/// The text of `macvlan-shim metrics`.
fn metrics(node: &Node) -> Result<String> {
    node.host.run(&[BINARY, "metrics"])
}

/// The value of a series, by its name and labels as they are written.
fn value(text: &str, series: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.with_context(|| format!("no {series} in\n{text}"))?.parse().context("a value is a number")
}

/// Waits until a series has at least this value.
fn reaches(node: &Node, series: &str, least: f64) -> Result<()> {
    eventually(PATIENCE, || {
        let is = value(&metrics(node)?, series)?;
        ensure!(is >= least, "{series} is {is}, not {least}");
        Ok(())
    })
}

/// Every gauge that the status has too.
fn agrees(text: &str, status: &Value) -> Result<()> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let nics: Vec<Value> = list(&status["guests"]).iter().flat_map(|guest| list(&guest["nics"])).collect();
    let addresses: Vec<Value> = nics.iter().flat_map(|nic| list(&nic["addresses"])).collect();
    let count = |all: &[Value], key: &str, is: &str| all.iter().filter(|one| one[key] == is).count() as f64;
    let sum = |family: &str, label: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(family) && line.contains(label));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    for state in ["reachable", "waiting", "refused", "failed", "stopped", "unselected", "unsupported"] {
        let (shown, should) =
            (sum("macvlan_shim_nics{", &format!("state=\"{state}\"")), count(&nics, "state", state));
        ensure!(shown == should, "{state}: {shown} in the metrics, {should} in the status");
    }
    for state in ["routed", "refused", "failed"] {
        let label = format!("state=\"{state}\"");
        let (shown, should) = (sum("macvlan_shim_addresses{", &label), count(&addresses, "state", state));
        ensure!(shown == should, "{state}: {shown} in the metrics, {should} in the status");
    }
    for (series, key) in
        [("macvlan_shim_guests_wanted", "wanted"), ("macvlan_shim_guests_reached", "reached")]
    {
        ensure!(Some(value(text, series)?) == status["counts"][key].as_f64(), "{series}: {status:#}");
    }
    let problems = list(&status["problems"]).len() as f64;
    ensure!(sum("macvlan_shim_problems{", "") == problems, "{problems} problems");
    ensure!(value(text, "macvlan_shim_ready")? == f64::from(u8::from(status["ready"] == true)));
    ensure!(value(text, "macvlan_shim_filter_active{shim=\"mvs-eth0\"}")? == 1.0, "{text}");
    Ok(())
}

#[test]
fn they_agree_with_the_status_and_count_what_happens() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let node = Node::start(&site.host)?;
    // Its first address comes after its start, so the route to it is a reaction.
    let guest = site.launch_static("c1", &[])?;
    node.wait_nic(&guest, "eth0", "waiting")?;
    guest.sh(&format!("ip addr add {GUEST}/24 dev eth0"))?;
    node.wait_both_ways(&guest, GUEST.parse::<std::net::IpAddr>()?, HOST)?;
    reaches(&node, "macvlan_shim_reaction_seconds_count", 1.0)?;
    let seconds = value(&metrics(&node)?, "macvlan_shim_reaction_seconds_sum")?;
    ensure!(seconds > 0.0 && seconds < 5.0, "{seconds} s for a route");
    reaches(&node, "macvlan_shim_operations_total{object=\"route\",action=\"add\",result=\"ok\"}", 1.0)?;
    // The LAN was asked, and nobody else has the address.
    reaches(&node, "macvlan_shim_lan_probes_total{result=\"free\"}", 1.0)?;
    reaches(&node, "macvlan_shim_server_events_total{server=\"lxd\"}", 1.0)?;

    // Both are asked in the same second, so they may differ while something changes.
    eventually(PATIENCE, || agrees(&metrics(&node)?, &node.status()?))?;

    // A repair is a repair, and our own deletion is none.
    ensure!(
        value(&metrics(&node)?, "macvlan_shim_repairs_total{object=\"route\"}")? == 0.0,
        "{}",
        metrics(&node)?
    );
    site.host.sh(&format!("ip route del {GUEST}"))?;
    reaches(&node, "macvlan_shim_repairs_total{object=\"route\"}", 1.0)?;
    guest.sh(&format!("ip addr del {GUEST}/24 dev eth0"))?;
    node.wait_gone(GUEST.parse::<std::net::IpAddr>()?)?;
    guest.sh(&format!("ip addr add {GUEST}/24 dev eth0"))?;
    node.wait_both_ways(&guest, GUEST.parse::<std::net::IpAddr>()?, HOST)?;
    ensure!(
        value(&metrics(&node)?, "macvlan_shim_repairs_total{object=\"route\"}")? == 1.0,
        "{}",
        metrics(&node)?
    );

    // A claim to the host's own address.
    guest.sh(&format!("ip addr add {HOST}/24 dev eth0"))?;
    reaches(&node, "macvlan_shim_address_conflicts_total{reason=\"host-address\"}", 1.0)?;
    eventually(PATIENCE, || agrees(&metrics(&node)?, &node.status()?))?;
    Ok(())
}
