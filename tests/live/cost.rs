//! The cost of a change: only one namespace is read, however many others there are. On a real LXD.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
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
    // Questions to the LAN are another story.
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

    // A resync may come in between, which asks for all objects of the host. Then it is measured once more.
    for _ in 0..5 {
        let came = cost_of(&site.host, || {
            guest.sh("ip addr add 192.168.77.201/24 dev eth0")?;
            node.wait_address(&guest, [192, 168, 77, 201], "routed").map(drop)
        })?;
        println!("a new address: {came:?}");
        let went = cost_of(&site.host, || {
            guest.sh("ip addr del 192.168.77.201/24 dev eth0")?;
            node.wait_gone([192, 168, 77, 201])
        })?;
        println!("an address that goes: {went:?}");
        if [&came, &went].iter().any(|cost| cost.contains_key("RTM_GETRULE")) {
            continue;
        }
        let expected = [("RTM_GETADDR", 1), ("RTM_NEWNEIGH", 1), ("RTM_NEWROUTE", 1)];
        ensure!(came == expected.map(|(kind, times)| (kind.to_owned(), times)).into(), "it cost {came:?}");
        let known = ["RTM_GETADDR", "RTM_GETNEIGH", "RTM_DELNEIGH", "RTM_DELROUTE"];
        let others = went.keys().filter(|kind| !known.contains(&kind.as_str()));
        ensure!(others.count() == 0 && went.values().all(|times| *times == 1), "it cost {went:?}");
        return Ok(());
    }
    bail!("the rules of the host were asked for each time")
}

/// The daemon's requests to the kernel because of an event.
fn cost_of(host: &Machine, act: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, usize>> {
    let before = trace(host)?.lines().count();
    act()?;
    let seen = trace(host)?;
    let cost = requests(seen.lines().skip(before)).into_iter();
    Ok(cost.map(|(kind, times)| (kind.to_owned(), times)).collect())
}
