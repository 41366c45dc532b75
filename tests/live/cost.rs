//! What a change costs: one namespace is looked at, whoever else is there. On a real LXD.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Kind, Machine};

use crate::node::{BINARY, Node, Site};

const TRACE: &str = "/run/lab/trace";

/// How often each kind of request was made of the kernel since there were so many lines in the trace.
fn requests(host: &Machine, from: usize) -> Result<BTreeMap<String, usize>> {
    let mut requests = BTreeMap::new();
    for line in host.run(&["cat", TRACE])?.lines().skip(from) {
        let kinds = line.split("nlmsg_type=").skip(1).filter_map(|rest| rest.split([',', '}']).next());
        kinds.for_each(|kind| *requests.entry(kind.to_owned()).or_default() += 1);
    }
    Ok(requests)
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
    // The echoes of the start, and what the server tells of it afterwards.
    sleep(Duration::from_secs(3));
    let before = site.host.run(&["cat", TRACE])?.lines().count();
    ensure!(before > 20, "the trace shows nothing: {before} lines");

    guest.sh("ip addr add 192.168.77.201/24 dev eth0")?;
    node.wait_address(&guest, "192.168.77.201".parse::<std::net::IpAddr>()?, "routed")?;
    sleep(Duration::from_millis(300));
    let cost = requests(&site.host, before)?;
    println!("a new address: {cost:?}");
    let expected = [("RTM_GETADDR", 1), ("RTM_NEWNEIGH", 1), ("RTM_NEWROUTE", 1)];
    ensure!(cost == expected.map(|(kind, times)| (kind.to_owned(), times)).into(), "it cost {cost:?}");

    let before = site.host.run(&["cat", TRACE])?.lines().count();
    guest.sh("ip addr del 192.168.77.201/24 dev eth0")?;
    node.wait_gone("192.168.77.201".parse::<std::net::IpAddr>()?)?;
    sleep(Duration::from_millis(300));
    let cost = requests(&site.host, before)?;
    println!("an address that goes: {cost:?}");
    let others = cost.keys().filter(|kind| {
        !["RTM_GETADDR", "RTM_GETNEIGH", "RTM_DELNEIGH", "RTM_DELROUTE"].contains(&kind.as_str())
    });
    ensure!(others.count() == 0 && cost.values().all(|times| *times == 1), "it cost {cost:?}");
    Ok(())
}
