//! `doctor` on a host where each fault is made in turn: it finds the fault while it is there, and not after it.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use lab::{Kind, Machine, eventually};
use serde_json::Value;

use crate::node::{BINARY, HOST, Node, PATIENCE, Site};

/// A fault: its code, the commands that make it, and those that take it away.
type Fault = (&'static str, &'static str, &'static str);

/// Faults that need no guest to change.
const FAULTS: &[Fault] = &[
    (
        "firewall-drops-shim",
        "nft 'table inet fw { chain in { type filter hook input priority 0; policy drop; ct state established,related \
         accept; iifname { lo, eth0 } accept; }; }'",
        "nft delete table inet fw",
    ),
    (
        "firewall-drops-shim",
        "nft 'table inet raw2 { chain pre { type filter hook prerouting priority -200; fib daddr . iif type != { \
         local, broadcast, multicast } drop; }; }'",
        "nft delete table inet raw2",
    ),
    (
        "firewall-drops-shim",
        "nft 'table arp quiet { chain in { type filter hook input priority 0; policy drop; iifname eth0 accept; }; }'",
        "nft delete table arp quiet",
    ),
    (
        "firewall-closed",
        "nft 'table inet fw { chain in { type filter hook input priority 0; policy drop; ct state established,related \
         accept; iifname lo accept; }; }'",
        "nft delete table inet fw",
    ),
    (
        "nat-names-uplink",
        "sysctl -qw net.ipv4.ip_forward=1; ip link add br9 type bridge; ip addr add 10.9.9.1/24 dev br9; ip link set br9 \
         up; nft 'table ip nat9 { chain post { type nat hook postrouting priority 100; oifname eth0 masquerade; }; }'",
        "nft delete table ip nat9; ip link delete br9; sysctl -qw net.ipv4.ip_forward=0",
    ),
    ("arp-ignore", "sysctl -qw net.ipv4.conf.all.arp_ignore=1", "sysctl -qw net.ipv4.conf.all.arp_ignore=0"),
    ("policy-rules", "ip rule add pref 5270 table 52", "ip rule delete pref 5270 table 52"),
    (
        "recipe-link",
        "ip link add mynet link eth0 type macvlan mode bridge; ip link set mynet up; ip route add 192.168.77.96/27 dev \
         mynet",
        "ip link delete mynet",
    ),
    (
        "foreign-child",
        "ip netns add docker9; ip link add mv9 link eth0 address 02:42:c0:a8:4d:c8 type macvlan mode bridge; ip link set \
         mv9 netns docker9; ip -n docker9 addr add 192.168.77.200/24 dev mv9; ip -n docker9 link set mv9 up",
        "ip netns delete docker9",
    ),
    ("parent-down", "ip link set eth0 down", "ip link set eth0 up"),
    (
        "route-taken",
        "ip link add dummy9 type bridge; ip link set dummy9 up; ip route replace 192.168.77.102/32 dev dummy9",
        "ip link delete dummy9",
    ),
];

/// Faults that are in a file.
const FILES: &[(&str, &str, &str, &str)] = &[
    ("config-unused", "/etc/macvlan-shim/config.toml", "[select]\nprofiles = [\"mv\", \"macvlna\"]\n", ""),
    ("parent-absent", "/etc/macvlan-shim/config.toml", "[[parent]]\nname = \"eth7\"\n", ""),
    ("config-rejected", "/etc/macvlan-shim/config.toml", "[shim]\nadresses = []\n", ""),
];

/// The codes that `doctor` finds, and its whole answer.
fn found(host: &Machine) -> Result<(Vec<String>, Value)> {
    let output = host.command(BINARY).args(["doctor", "--json"]).output()?;
    let view: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let checks = view["checks"].as_array().context("the checks")?;
    let findings = checks.iter().flat_map(|check| check["findings"].as_array().into_iter().flatten());
    let codes = findings.filter_map(|finding| Some(finding["code"].as_str()?.to_owned())).collect();
    Ok((codes, view))
}

/// Waits until a code is found, or is no longer.
fn wait(host: &Machine, code: &str, is_there: bool) -> Result<()> {
    eventually(PATIENCE, || {
        let (codes, view) = found(host)?;
        ensure!(codes.iter().any(|its| its == code) == is_there, "{code}, expected {is_there}: {view:#}");
        Ok(())
    })
}

#[test]
fn each_fault_is_found_while_it_is_there() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24", "fd77::101/64"])?;
    let mut node = Node::start(&site.host)?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    guest.sh("ip addr add 192.168.77.102/24 dev eth0")?;
    let (before, _) = found(&site.host)?;
    for (code, make, undo) in FAULTS {
        ensure!(!before.iter().any(|its| its == code), "{code} before it was made: {before:?}");
        site.host.sh(make).with_context(|| format!("making {code}"))?;
        wait(&site.host, code, true)?;
        site.host.sh(undo)?;
        wait(&site.host, code, false)?;
    }
    for (code, file, text, good) in FILES {
        site.host.run_with_stdin(&["sh", "-c", &format!("cat > {file}")], text)?;
        wait(&site.host, code, true).or_else(|error| {
            // The daemon's own problems follow a reload.
            node.daemon.signal("HUP")?;
            wait(&site.host, code, true).context(error)
        })?;
        site.host.run_with_stdin(&["sh", "-c", &format!("cat > {file}")], good)?;
        node.daemon.signal("HUP")?;
        wait(&site.host, code, false)?;
    }
    node.daemon.stop()?;
    wait(&site.host, "not-running", true)
}

#[test]
fn the_cure_of_a_firewall_cures_it() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let node = Node::start(&site.host)?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let (_, make, _) = FAULTS[0];
    site.host.sh(make)?;
    ensure!(!guest.pings(HOST.parse::<IpAddr>()?), "the firewall passes it");
    let (_, view) = found(&site.host)?;
    let checks = view["checks"].as_array().context("the checks")?;
    let finding = checks
        .iter()
        .filter_map(|check| check["findings"].get(0))
        .find(|finding| finding["code"] == "firewall-drops-shim")
        .context("the finding")?;
    for command in finding["cure"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        site.host.sh(command)?;
    }
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    let (codes, _) = found(&site.host)?;
    ensure!(!codes.iter().any(|code| code == "firewall-drops-shim"), "{codes:?}");
    Ok(())
}

#[test]
fn a_report_has_everything_and_masks_addresses_if_asked() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let node = Node::start(&site.host)?;
    node.wait_both_ways(&guest, "192.168.77.101".parse::<IpAddr>()?, HOST)?;
    for (options, plain) in [("", true), ("--redact", false)] {
        site.host.sh(&format!("{BINARY} doctor --report /tmp/report {options} || true"))?;
        let report = site.host.sh("cat /tmp/report")?;
        for part in [
            "doctor --all",
            "status --json",
            "macvlan-shim plan",
            "config show",
            "ip -d link",
            "nft list table",
        ] {
            ensure!(report.contains(part), "{part} is missing: {report}");
        }
        ensure!(report.contains("192.168.77.101") == plain, "{report}");
        ensure!(report.contains("mac-1") != plain, "{report}");
    }
    Ok(())
}
