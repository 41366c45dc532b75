//! The unit: its rights, and the proof that they are enough.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Kind, eventually, stays, until};
use serde_json::Value;

use crate::node::{Node, PATIENCE, UNIT};

/// The rating of its exposure by `systemd-analyze security`, from 0 to 10.
pub(crate) const EXPOSURE: f64 = 1.8;

const CONFIG: &str = "/etc/macvlan-shim/config.toml";
const ADDED: &str = "/etc/macvlan-shim/conf.d/site.toml";

#[test]
fn it_has_few_rights_and_they_are_enough() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    node.install()?;
    node.meets(&guest)?;

    let rating = node.host.sh(&format!("systemd-analyze security --no-pager {UNIT}"))?;
    let exposure = exposure(&rating)?;
    println!("exposure {exposure}");
    ensure!(exposure <= EXPOSURE, "{rating}");

    let pid = node.unit("MainPID")?;
    let process = node.host.sh(&format!("cat /proc/{pid}/status"))?;
    let capabilities = "CapEff:\t0000000000001800"; // CAP_NET_BROADCAST, CAP_NET_ADMIN
    ensure!(process.contains(capabilities) && process.contains("NoNewPrivs:\t1"), "{process}");
    ensure!(node.host.sh(&format!("stat -c %U /proc/{pid}"))? == "macvlan-shim\n");
    // nft has the capability too.
    ensure!(node.host.sh("nft list table netdev macvlan_shim")?.contains("mvs-eth0"), "{}", node.picture());
    let status = node.wait("it is ready", |status| status["ready"] == true)?;
    ensure!(status["problems"].as_array().is_some_and(Vec::is_empty), "{status:#}");

    // root and the unit's group may ask it, others may not.
    let ask = "macvlan-shim status";
    ensure!(node.host.ok(&format!("setpriv --reuid nobody --regid macvlan-shim --clear-groups {ask}")));
    ensure!(!node.host.ok(&format!("setpriv --reuid nobody --regid nogroup --clear-groups {ask}")));
    Ok(())
}

#[test]
fn a_hung_daemon_is_replaced_and_one_with_a_faulty_configuration_is_not() -> Result<()> {
    let node = Node::new(None)?;
    node.host
        .write(&format!("/etc/systemd/system/{UNIT}.service.d/soon.conf"), "[Service]\nWatchdogSec=4s\n")?;
    node.install()?;
    node.host.wait_unit(UNIT, "active")?;
    let pid = node.unit("MainPID")?;
    stays(Duration::from_secs(9), "a loop that turns is left alone", || {
        node.unit("MainPID").is_ok_and(|now| now == pid)
    })?;
    node.host.sh(&format!("kill -STOP {pid}"))?;
    until(PATIENCE, "systemd has replaced it", || {
        node.unit("MainPID").is_ok_and(|now| now != pid && now != "0")
    })?;
    node.host.wait_unit(UNIT, "active")?;
    ensure!(node.host.journal(&[UNIT]).contains("Watchdog timeout"), "{}", node.picture());

    node.host.sh("echo nonsense > /etc/macvlan-shim/config.toml")?;
    node.host.sh(&format!("systemctl restart {UNIT} || true"))?;
    node.host.wait_unit(UNIT, "failed")?;
    ensure!(node.host.journal(&[UNIT]).contains("config.toml"), "{}", node.picture());
    Ok(())
}

fn is_rejected(status: &Value) -> bool {
    status["problems"].to_string().contains("config-rejected")
}

#[test]
fn a_reload_fails_if_the_configuration_is_faulty() -> Result<()> {
    let node = Node::new(None)?;
    node.install()?;
    node.wait("it is ready", |status| status["ready"] == true)?;
    let reload = format!("systemctl reload {UNIT}");
    let reloads = |node: &Node| node.host.journal(&[UNIT]).matches("configuration reloaded").count();
    node.host.sh(&format!("echo '[policy]' > {CONFIG}; echo 'max_addresses = 31' >> {CONFIG}; {reload}"))?;
    until(PATIENCE, "it is taken up", || reloads(&node) == 1)?;
    let process = node.unit("MainPID")?;

    // The caller of the reload gets the error, and the daemon goes on unchanged.
    node.host.sh(&format!("echo nonsense > {CONFIG}"))?;
    ensure!(!node.host.ok(&reload), "the reload of a faulty file succeeds");
    ensure!(node.host.journal(&[UNIT]).contains(CONFIG), "{}", node.picture());
    ensure!(node.unit("ActiveState")? == "active" && node.unit("MainPID")? == process, "{}", node.picture());
    let status = node.wait("it answers", |status| status["ready"] == true)?;
    ensure!(!is_rejected(&status), "{status:#}");
    // A signal goes to the daemon, which can report the error only in its status.
    node.host.sh(&format!("kill -HUP {process}"))?;
    node.wait("the old configuration stays", is_rejected)?;
    // The files beside it are read in the unit's sandbox too.
    node.host.sh(&format!("echo > {CONFIG}; echo nonsense > {ADDED}"))?;
    ensure!(!node.host.ok(&reload) && node.host.journal(&[UNIT]).contains(ADDED), "{}", node.picture());
    node.host.sh(&format!("printf '[shim]\nkeep = false\n' > {ADDED}; {reload}"))?;
    node.wait("it is in order", |status| !is_rejected(status))?;
    ensure!(reloads(&node) == 2 && node.unit("MainPID")? == process, "{}", node.picture());
    Ok(())
}

/// The unit may make no such socket itself. It gets the one that systemd has made.
#[test]
fn metrics_are_served_over_tcp_only_while_the_socket_is_enabled() -> Result<()> {
    const SOCKET: &str = "macvlan-shimd-metrics.socket";
    let node = Node::new(None)?;
    node.install()?;
    node.wait("it is ready", |status| status["ready"] == true)?;
    let get = |path: &str| {
        let exchange = format!(
            "exec 3<>/dev/tcp/127.0.0.1/10077; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        );
        node.host.sh(&format!("timeout 10 bash -c \"{exchange}\""))
    };
    ensure!(get("/metrics").is_err(), "something listens before anybody has asked for it");

    node.host.sh(&format!("systemctl enable --quiet {SOCKET}; systemctl restart {UNIT}"))?;
    node.wait("it is ready", |status| status["ready"] == true)?;
    let text = get("/metrics")?;
    ensure!(text.starts_with("HTTP/1.0 200") && text.contains("\nmacvlan_shim_ready 1\n"), "{text}");
    let refused = get("/1.0/status")?;
    ensure!(refused.starts_with("HTTP/1.0 404") && !refused.contains("guests"), "{refused}");

    // It dies with the daemon, so nobody's question starts a daemon that somebody has stopped.
    node.host.sh(&format!("systemctl stop {UNIT}"))?;
    ensure!(get("/metrics").is_err() && node.unit("ActiveState")? == "inactive", "{}", node.picture());
    // One that dies by itself is started again, and gets the socket again.
    node.host
        .sh(&format!("systemctl start {UNIT}; kill -KILL $(systemctl show --value -p MainPID {UNIT})"))?;
    eventually(PATIENCE, || {
        ensure!(get("/metrics")?.contains("\nmacvlan_shim_ready 1\n"));
        Ok(())
    })?;

    node.host.sh(&format!("systemctl disable --quiet --now {SOCKET}; systemctl restart {UNIT}"))?;
    node.wait("it is ready", |status| status["ready"] == true)?;
    ensure!(get("/metrics").is_err(), "it still listens");
    Ok(())
}

#[test]
fn neither_a_user_nor_a_full_run_keeps_it_from_starting() -> Result<()> {
    let node = Node::new(None)?;
    node.install()?;
    node.wait("it is ready", |status| status["ready"] == true)?;
    let locks = node.host.sh("stat -c '%a %U' /run/macvlan-shim/*.lock")?;
    ensure!(locks == "600 macvlan-shim\n", "{locks}");
    // A lock file of an earlier version, and a user who holds it.
    node.host.sh(&format!("systemctl stop {UNIT}; chmod 644 /run/macvlan-shim/*.lock"))?;
    node.host.sh(
        "systemd-run --quiet --unit=holder --uid=nobody sh -c 'flock /run/macvlan-shim/*.lock sleep 1000'
         while flock -n /run/macvlan-shim/*.lock true; do sleep 0.1; done",
    )?;
    node.host.sh(&format!("systemctl start {UNIT}"))?;
    ensure!(node.unit("NRestarts")? == "0", "{}", node.picture());
    ensure!(
        node.host.verdict(&["macvlan-shim", "status"]).is_ok() && !node.host.ok("macvlan-shim cleanup"),
        "two at a time"
    );
    node.host.sh(&format!("systemctl stop holder {UNIT}; macvlan-shim cleanup"))?;

    node.host.sh("mount -t tmpfs -o size=4k,mode=755 full /run/macvlan-shim
         ! dd if=/dev/zero of=/run/macvlan-shim/filler bs=4k count=2 2>&1")?;
    node.host.sh(&format!("systemctl start {UNIT}; systemctl reload {UNIT}"))?;
    ensure!(node.unit("NRestarts")? == "0", "{}", node.picture());
    node.wait("it is ready", |status| status["ready"] == true)?;
    node.host.sh(&format!("systemctl stop {UNIT}; macvlan-shim cleanup"))?;
    Ok(())
}

/// Programs find the lines about a guest by fields. When the unit has ended, `status` says when and why, and what
/// it left.
#[test]
fn the_journal_has_fields_and_status_knows_why_it_ended() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    node.install()?;
    node.meets(&guest)?;
    let entries = node
        .host
        .sh(&format!("journalctl -b -o json GUEST={} _SYSTEMD_UNIT={UNIT}.service", guest.name()))?;
    let entries = entries.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let adds_route = |entry: &&Value| entry["ACTION"].as_str().is_some_and(|it| it.starts_with("add route"));
    let route = entries.iter().find(adds_route).with_context(|| node.picture())?;
    for (key, value) in [
        ("PRIORITY", "6"),
        ("SERVER", "lxd"),
        ("PROJECT", "default"),
        ("NIC", "eth0"),
        ("SYSLOG_IDENTIFIER", "macvlan-shim"),
        ("MESSAGE_ID", "f6f7905fac794b6587394a6f3f9afe35"),
    ] {
        ensure!(route[key] == value, "{key} is not {value}: {route:#}");
    }
    let action = route["ACTION"].as_str().unwrap_or_default();
    ensure!(route["MESSAGE"].as_str().is_some_and(|line| line.starts_with(action)), "{route:#}");
    ensure!(route["ADDRESS"].as_str().is_some_and(|address| action.contains(address)), "{route:#}");

    let status = || node.host.sh("macvlan-shim status 2>&1 || echo \"exit $?\"");
    node.host.sh(&format!("systemctl stop {UNIT}"))?;
    let stopped = status()?;
    ensure!(
        stopped.contains("\n  it was stopped ") && stopped.contains("\n    mvs-eth0 on eth0: up, "),
        "{stopped}"
    );
    ensure!(stopped.ends_with("exit 3\n"), "{stopped}");
    node.host.sh(&format!("echo 'shim = 3' >> {CONFIG}; systemctl start {UNIT} || :"))?;
    let failed = status()?;
    ensure!(failed.contains("(exit-code), and the last that it said is:\n"), "{failed}");
    ensure!(failed.contains(CONFIG), "it does not name the faulty file: {failed}");
    Ok(())
}

#[test]
fn it_does_not_run_beside_a_daemon_that_was_started_by_hand() -> Result<()> {
    let node = Node::new(None)?;
    node.install()?;
    node.host.sh(&format!("systemctl stop {UNIT}; systemd-run --quiet --unit=by-hand macvlan-shim run"))?;
    let by_hand = || node.host.sh("systemctl show --value -p MainPID -p NRestarts -p ActiveState by-hand");
    node.wait("it is ready", |status| status["ready"] == true)?;
    let first = by_hand()?;
    let refused = |status: &str| {
        ensure!(!node.host.ok(&format!("systemctl start {UNIT}")), "both run\n{}", node.picture());
        ensure!(node.unit("ExecMainStatus")? == status, "{}", node.picture());
        node.host.sh(&format!("systemctl stop {UNIT}; systemctl reset-failed {UNIT} || true"))?;
        node.host.verdict(&["macvlan-shim", "status"]).map(drop)
    };
    refused("1")?;
    ensure!(node.host.journal(&[UNIT]).contains("already running in this network namespace (pid "));
    // A unit that fails for good leaves the lock in place.
    node.host.sh("cd /etc/macvlan-shim; cp config.toml good; echo nonsense > config.toml")?;
    refused("2")?;
    node.host.sh("cd /etc/macvlan-shim; mv good config.toml")?;
    refused("1")?;
    ensure!(by_hand()? == first, "{}", node.host.journal(&["by-hand"]));
    Ok(())
}

#[test]
fn a_server_that_somebody_stopped_is_not_started() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    let guest = node.launch(Kind::Lxd)?;
    node.install()?;
    node.meets(&guest)?;
    let verdict = format!("systemd-analyze verify --man=no --recursive-errors=no {UNIT}.service 2>&1");
    ensure!(node.host.sh(&verdict)?.is_empty(), "{}", node.host.sh(&verdict)?);
    // It neither starts a server nor waits for one, because the server has its guests to start.
    let others = node.host.sh(&format!("systemctl show -p After -p Requires -p Wants {UNIT}"))?;
    let names: BTreeSet<&str> = others.split([' ', '=', '\n']).collect();
    ensure!(["lxd.socket", "incus.socket", "network-pre.target"].iter().all(|unit| names.contains(unit)));
    ensure!(!["lxd.service", "incus.service"].iter().any(|unit| names.contains(unit)), "{others}");
    let needed = others.lines().filter(|line| !line.starts_with("After="));
    ensure!(!needed.clone().any(|line| line.contains("lxd") || line.contains("incus")), "{others}");

    node.host.sh("systemctl stop lxd.service")?;
    node.wait("it is seen to be stopped", |status| status["servers"][0]["state"] == "absent")?;
    node.host.sh(&format!("systemctl restart {UNIT}"))?;
    stays(Duration::from_secs(10), "LXD stays stopped", || {
        !node.host.ok("systemctl is-active --quiet lxd.service")
    })?;
    // Everything that needs no LXD now goes on.
    eventually(PATIENCE, || {
        ensure!(node.host.pings(guest.ipv4("eth0")?), "{}", node.picture());
        Ok(())
    })
}

#[test]
fn it_reaches_the_socket_of_the_snap_and_that_of_incus_in_run() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    node.host.install_incus()?;
    node.host.sh("systemctl mask --now --quiet lxd.socket lxd.service incus.socket incus.service
         rm -f /var/lib/{lxd,incus}/unix.socket; mkdir -p /var/snap/lxd/common/lxd
         systemd-run --quiet -E LXD_DIR=/var/snap/lxd/common/lxd lxd --group lxd
         systemd-run --quiet -E INCUS_DIR=/run/incus /usr/libexec/incus/incusd --group incus-admin")?;
    node.install()?;
    node.wait("both are connected", |status| {
        let servers = status["servers"].as_array().cloned().unwrap_or_default();
        [("lxd-snap", "/var/snap/lxd/common/lxd/unix.socket"), ("incus", "/run/incus/unix.socket")]
            .iter()
            .all(|(id, socket)| {
                let mut servers = servers.iter();
                servers.any(|s| s["id"] == *id && s["socket"] == *socket && s["state"] == "connected")
            })
    })?;
    Ok(())
}

#[test]
fn without_nft_it_works_and_names_the_loss() -> Result<()> {
    let node = Node::new(Some(Kind::Lxd))?;
    node.host.apt("purge nftables")?;
    let guest = node.launch(Kind::Lxd)?;
    node.install()?;
    node.meets(&guest)?;
    node.wait("it says that there is no filter", |status| {
        status["problems"].to_string().contains("filter-missing")
    })?;
    Ok(())
}

/// The verdict of `systemd-analyze security`.
pub(crate) fn exposure(rating: &str) -> Result<f64> {
    let exposure = rating.lines().rev().find_map(|line| line.split_once(": ")?.1.split(' ').next());
    exposure.context("no rating")?.parse().with_context(|| rating.to_owned())
}
