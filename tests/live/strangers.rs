//! Children of another runtime come. The servers know nothing of them and are not asked. With the real
//! binary.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::stand_in::container;
use lab::{Kind, Machine, until};
use serde_json::{Value, json};

use crate::node::{BINARY, Node, PATIENCE, Site};
use crate::storms::{Crowd, SOON, address, appear, mac};

/// Number of strangers.
const STRANGERS: u32 = 20;
const TRACE: &str = "/run/lab/trace";

/// The number of later listings that may have other reasons, because resyncs ask for them.
fn by_resyncs(since: Instant) -> usize {
    const SHORTEST: u64 = 24;
    1 + (since.elapsed().as_secs() / SHORTEST) as usize
}

/// Makes strangers as Docker does: each link is made on the host, with a MAC that the kernel draws, and
/// moved.
fn strangers_come(host: &Machine) -> Result<()> {
    let one = |n: u32| {
        format!(
            "ip netns add s{n}; ip link add s{n} link eth0 type macvlan mode bridge; ip link set s{n} netns s{n}
             ip -n s{n} link set s{n} name eth0; ip -n s{n} link set eth0 up; sleep 0.1\n"
        )
    };
    host.sh(&(0..STRANGERS).map(one).collect::<String>()).map(drop)
}

#[test]
fn they_cost_a_server_nothing_and_its_own_guest_is_found_at_once() -> Result<()> {
    let crowd = Crowd::new()?;
    crowd.list(1);
    crowd.host.sh(&appear(0, 1))?;
    let node = Node::start(&crowd.host)?;
    let mut wanted: BTreeSet<String> = [address(0, 1)].into();
    crowd.wait_routed(&wanted)?;
    let (before, began) = (quiet(|| crowd.server.listings())?, Instant::now());

    strangers_come(&crowd.host)?;
    // When this is routed, everything before it has been seen.
    crowd.host.sh(&format!("ip -n g0 addr add {}/16 dev eth0", address(0, 2)))?;
    wanted.insert(address(0, 2));
    crowd.wait_routed(&wanted)?;
    let listings = quiet(|| crowd.server.listings())? - before;
    println!("{STRANGERS} strangers came, and the server was asked for {listings} listings");
    ensure!(listings <= by_resyncs(began), "{listings} listings: {:?}", crowd.server.requests());

    // A guest that the server knows starts. The server has not reported it yet, and the child alone makes us
    // ask.
    let guests = |power: &str, code: u32| {
        let mut late = container("g1", &mac(1), "eth0");
        (late["status"], late["status_code"]) = (json!(power), json!(code));
        crowd.server.set_instances(Value::Array(vec![container("g0", &mac(0), "eth0"), late]));
    };
    guests("Stopped", 102);
    crowd.server.happens("instance-created");
    node.wait("the stopped guest is known", |status| status["guests"].to_string().contains("g1"))?;
    let before = quiet(|| crowd.server.listings())?;
    guests("Running", 103);
    crowd.host.sh(&appear(1, 1))?;
    wanted.insert(address(1, 1));
    crowd.wait_routed(&wanted)?;
    ensure!(crowd.server.listings() > before, "nobody has asked");
    Ok(())
}

#[test]
fn a_real_lxd_is_not_asked_for_them() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let traced = ["strace", "-D", "-f", "-qq", "-s", "128", "-e", "trace=connect", "-o", TRACE];
    let node = Node::start_by(&site.host, &[&traced[..], &[BINARY, "run"]].concat())?;
    node.wait_address(&guest, "192.168.77.101".parse::<IpAddr>()?, "routed")?;
    let asked =
        || site.host.sh(&format!("cat {TRACE}")).map(|trace| trace.matches("lxd/unix.socket").count());
    let count = || asked().unwrap_or_default();
    ensure!(count() > 1, "the trace is empty");
    let (before, began) = (quiet(count)?, Instant::now());

    strangers_come(&site.host)?;
    guest.sh("ip addr add 192.168.77.102/24 dev eth0")?;
    node.wait_address(&guest, "192.168.77.102".parse::<IpAddr>()?, "routed")?;
    let requests = quiet(count)? - before;
    println!("{STRANGERS} strangers came, and LXD was asked {requests} times");
    ensure!(requests <= by_resyncs(began), "{requests} requests");
    Ok(())
}

/// A count that has not grown for longer than a follower takes to ask again after an event.
fn quiet(count: impl Fn() -> usize) -> Result<usize> {
    let mut last = (count(), Instant::now());
    until(SOON + PATIENCE, "nobody asks", || {
        let now = count();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(2500)
    })?;
    Ok(last.0)
}
