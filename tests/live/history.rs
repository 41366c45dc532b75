//! What has changed, and since when.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use lab::{Kind, eventually};
use serde_json::Value;

use crate::node::{BINARY, HOST, Node, PATIENCE, Site};

const GUEST: &str = "192.168.77.101";

/// A guest comes, loses its parent, gets it back, and goes. Somebody follows all that, over a restart of the daemon.
#[test]
fn somebody_follows_what_happens_to_a_guest() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let host = &site.host;
    let first = Node::start(host)?;
    first.wait("it is ready", |status| status["ready"] == true)?;
    let mut follower = host.spawn(&[BINARY, "events", "--follow", "--json"])?;
    follower.wait_line("\"daemon\"", PATIENCE)?;

    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    first.wait_both_ways(&guest, GUEST.parse::<IpAddr>()?, HOST)?;
    let line = follower.wait_line("\"to\":\"routed\"", PATIENCE)?;
    let change: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    for (key, value) in
        [("kind", "address"), ("server", "lxd"), ("project", "default"), ("name", "c1"), ("address", GUEST)]
    {
        ensure!(change[key] == value, "{key}: {line}");
    }
    let status = first.status()?;
    let address = &status["guests"][0]["nics"][0]["addresses"][0];
    ensure!(address["since"] == change["time"], "{status:#}\n{line}");
    ensure!(status["servers"][1]["last_read"].is_string(), "{status:#}");

    host.sh("ip link set eth0 down")?;
    let down = follower.wait_line("\"code\":\"parent-down\"", PATIENCE)?;
    host.sh("ip link set eth0 up")?;
    eventually(PATIENCE, || {
        let past = host.run(&[BINARY, "events"])?;
        ensure!(
            past.contains("(parent-down)\n") && past.contains(": no longer parent-down\n"),
            "{past}\n{down}"
        );
        Ok(())
    })?;

    let mut daemon = first.daemon;
    daemon.stop()?;
    let left = host.sh(&format!("{BINARY} status 2>&1 || :"))?;
    ensure!(left.contains("mvs-eth0 on eth0: up, 1 address of a guest, filter on"), "{left}");
    let second = Node::start(host)?;
    second.wait("it is ready", |status| status["ready"] == true)?;
    guest.stop()?;
    follower.wait_line("\"to\":\"stopped\"", PATIENCE)?;
    let of_guest = host.run(&[BINARY, "events", "c1"])?;
    ensure!(
        of_guest.lines().count() > 0 && of_guest.lines().all(|line| line.contains("lxd:c1")),
        "{of_guest}"
    );
    let of_nobody = host.run(&[BINARY, "events", "--since", "2099-01-01T00:00:00Z"])?;
    ensure!(of_nobody.is_empty(), "{of_nobody}");
    ensure!(follower.stop()?.success());
    Ok(())
}
