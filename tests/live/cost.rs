//! What a change costs: one namespace is looked at, whoever else is there. On a real LXD.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Kind, Machine, eventually};

use crate::node::{BINARY, Node, PATIENCE, Site};
use crate::trace::requests;

const TRACE: &str = "/run/lab/trace";

/// The trace so far, once nothing has been added to it for a while.
fn trace(host: &Machine) -> Result<String> {
    let mut before = String::new();
    eventually(PATIENCE, || {
        sleep(Duration::from_millis(400));
        let seen = std::mem::replace(&mut before, host.run(&["cat", TRACE])?);
        ensure!(seen == before, "the daemon goes on asking:\n{before}");
        Ok(())
    })?;
    Ok(before)
}

#[test]
fn a_new_address_costs_one_look_at_its_guest_and_two_writes() -> Result<()> {
    let site = Site::new(Kind::Lxd)?;
    let guest = site.launch_static("c1", &["192.168.77.101/24"])?;
    let others = [
        site.launch_static("c2", &["192.168.77.102/24", "fd77::102/64"])?,
        site.launch_static("c3", &["192.168.77.103/24", "fd77::103/64"])?,
    ];
    // What the LAN is asked is another story.
    let config = "cat > /etc/macvlan-shim/config.toml";
    site.host.run_with_stdin(&["sh", "-c", config], "[policy]\nprobe = \"off\"\n")?;
    let traced = ["strace", "-D", "-f", "-qq", "-s", "64", "-e", "trace=sendto,sendmsg", "-o", TRACE];
    let node = Node::start_by(&site.host, &[&traced[..], &[BINARY, "run"]].concat())?;
    node.wait_address(&guest, "192.168.77.101".parse::<std::net::IpAddr>()?, "routed")?;
    for (other, address) in others.iter().zip(["fd77::102", "fd77::103"]) {
        node.wait_address(other, address.parse::<std::net::IpAddr>()?, "routed")?;
    }
    let before = trace(&site.host)?.lines().count();
    ensure!(before > 20, "the trace shows nothing: {before} lines");

    guest.sh("ip addr add 192.168.77.201/24 dev eth0")?;
    node.wait_address(&guest, "192.168.77.201".parse::<std::net::IpAddr>()?, "routed")?;
    let seen = trace(&site.host)?;
    let cost = requests(seen.lines().skip(before));
    println!("a new address: {cost:?}");
    let expected = [("RTM_GETADDR", 1), ("RTM_NEWNEIGH", 1), ("RTM_NEWROUTE", 1)];
    ensure!(cost == expected.into(), "it cost {cost:?}");

    let before = seen.lines().count();
    guest.sh("ip addr del 192.168.77.201/24 dev eth0")?;
    node.wait_gone("192.168.77.201".parse::<std::net::IpAddr>()?)?;
    let seen = trace(&site.host)?;
    let cost = requests(seen.lines().skip(before));
    println!("an address that goes: {cost:?}");
    let others = cost
        .keys()
        .filter(|kind| !["RTM_GETADDR", "RTM_GETNEIGH", "RTM_DELNEIGH", "RTM_DELROUTE"].contains(kind));
    ensure!(others.count() == 0 && cost.values().all(|times| *times == 1), "it cost {cost:?}");
    Ok(())
}
