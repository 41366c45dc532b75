//! Users of the host at the control socket.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Daemon, Machine, Share};

use super::{Den, SOON};
use crate::node::{BINARY, Node, PATIENCE};

const SOCKET: &str = "/run/macvlan-shim/control.sock";

/// A host that has the group, and a user in it.
fn with_group(den: Den) -> Result<Den> {
    let mut den = den;
    den.site.host.sh(
        "echo 'macvlan-shim:x:7077:alice' >>/etc/group; echo 'alice:x:7001:7001::/:/bin/sh' >>/etc/passwd
         echo 'mallory:x:7002:7002::/:/bin/sh' >>/etc/passwd",
    )?;
    den.node.daemon.kill()?;
    den.node = Node::start(&den.site.host)?;
    Ok(den)
}

const ALICE: [&str; 4] = ["setpriv", "--reuid=7001", "--regid=7001", "--groups=7077"];
const MALLORY: [&str; 4] = ["setpriv", "--reuid=7002", "--regid=7002", "--clear-groups"];

fn status_as(host: &Machine, user: &[&str]) -> Result<String> {
    host.verdict(&[user, &[BINARY, "status"]].concat())
}

/// Connects this often as that user and says nothing, again and again.
fn keep_silent(host: &Machine, user: &[&str], count: u32) -> Result<Daemon> {
    let script = format!(
        "use IO::Socket::UNIX; $| = 1; print \"begun\\n\";
         while (1) {{ push @s, IO::Socket::UNIX->new(Peer => '{SOCKET}'); shift @s if @s > {count};
         select undef, undef, undef, 0.001 }}"
    );
    let silent = host.spawn(&[user, &["perl", "-e", &script]].concat())?;
    silent.wait_line("begun", PATIENCE)?;
    Ok(silent)
}

#[test]
fn only_root_and_the_group_get_an_answer() -> Result<()> {
    let den = with_group(Den::new()?)?;
    let host = &den.site.host;
    let file = host.sh(&format!("stat -c '%a %U %G' {SOCKET}"))?;
    ensure!(file.trim() == "660 root macvlan-shim", "the socket is {file}");
    ensure!(status_as(host, &ALICE)?.contains("honest"), "a member gets no answer");
    ensure!(status_as(host, &MALLORY).is_err(), "a stranger gets an answer");
    // A mode that somebody has changed does not open it to others.
    host.sh(&format!("chmod 666 {SOCKET}"))?;
    let Err(refused) = status_as(host, &MALLORY) else { anyhow::bail!("a stranger gets an answer") };
    let refused = format!("{refused:#}");
    ensure!(refused.contains("only root and the members of the socket's group may ask"), "{refused}");
    ensure!(status_as(host, &ALICE)?.contains("honest"), "a member gets no answer");
    Ok(())
}

#[test]
fn a_member_that_floods_the_socket_delays_neither_root_nor_a_guest() -> Result<()> {
    let den = with_group(Den::with(Share::Half)?)?;
    let host = &den.site.host;
    let _silent = keep_silent(host, &ALICE, 400)?;
    let ask =
        [&ALICE[..], &["bash", "-c", "while :; do $0 status --json >/dev/null 2>&1; done", BINARY]].concat();
    let mut askers = Vec::new();
    for _ in 0..4 {
        askers.push(host.spawn(&ask)?);
    }
    let mut slowest = (Duration::ZERO, Duration::ZERO);
    for n in 102..112 {
        let start = Instant::now();
        den.honest.sh(&format!("ip addr add 192.168.77.{n}/24 dev eth0"))?;
        let address: IpAddr = format!("192.168.77.{n}").parse()?;
        lab::eventually(PATIENCE, || host.sh(&format!("ip route show {address} proto 77 | grep -q .")))?;
        slowest.0 = slowest.0.max(start.elapsed());
        let start = Instant::now();
        den.node.wait_address(&den.honest, address, "routed")?;
        slowest.1 = slowest.1.max(start.elapsed());
    }
    println!("slowest: a route {:?}, a status for root {:?}", slowest.0, slowest.1);
    ensure!(slowest.0 < SOON && slowest.1 < SOON, "{slowest:?}");
    den.honest_is_reached()
}
