//! The kernel layer with full neighbour tables, and no server. All network namespaces share the tables, so
//! this is a program of its own. Needs root; without it the test fails. `make test-stock-kernel` runs it too.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails says so by a panic")]

#[path = "kernel/host.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod host;

use std::fs::File;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use host::Host;
use lab::{Crowd, Share, eventually};
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::snapshot::{Neighbour, NeighbourState};
use macvlan_shim::model::{LinkRef, Op};

const PATIENCE: Duration = Duration::from_secs(20);

/// How long the tables may stay full after the crowd has left. The kernel counts an entry until nobody uses
/// it any more. This took 1.5 s on an emulated machine.
const EMPTIED: Duration = Duration::from_secs(10);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The answer of `ip` when the kernel is to ask for an address in the ordinary way. Without `nud none` it
/// would mean a permanent entry, which is exempt.
fn ask(address: &str) -> String {
    let output = Command::new("ip")
        .args(["neigh", "replace", address, "dev", "eth0", "nud", "none", "use"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_for(kernel: &mut Kernel, address: IpAddr, holds: impl Fn(&Neighbour) -> bool) {
    eventually(PATIENCE, || {
        kernel.drain();
        let link = Host.parent(kernel);
        let entry = kernel.snapshot().neighbours.get(&(address, link));
        anyhow::ensure!(entry.is_some_and(&holds), "{address}: {entry:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn no_question_is_refused_in_a_full_table() {
    let host = Host::with(Share::All);
    let mut kernel = Kernel::open().unwrap();
    let link = host.parent(&kernel);
    host.ip("addr add fe80::1/64 dev eth0 nodad");
    // A machine that knows the host, as one with its own tables would.
    let machine = host.guest();
    host.ip(&format!("link set lan netns {}", machine.pid()));
    for command in [
        "link set lan up",
        "addr add 192.0.2.60/24 dev lan",
        "addr add 2001:db8::60/64 dev lan nodad",
        "neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev lan nud permanent",
        "neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev lan nud permanent",
        "neigh add fe80::1 lladdr 02:00:00:00:00:01 dev lan nud permanent",
    ] {
        machine.ip(command);
    }
    let hostile = host.guest();
    for command in ["link add crowd type bridge", "link set crowd up"] {
        hostile.ip(command);
    }
    assert!(kernel.neighbour_tables().iter().all(|table| !table.is_nearly_full()));

    let netns = File::open(format!("/proc/{}/ns/net", hostile.pid())).unwrap();
    let mut crowd = Crowd::start(netns, "crowd");
    crowd.wait_full(PATIENCE).unwrap();
    let full = Instant::now();
    for (nth, there, free) in [(1, "192.0.2.60", "192.0.2.51"), (2, "2001:db8::60", "2001:db8::51")] {
        for address in [format!("192.0.2.{}", 100 + nth), format!("2001:db8::{}", 100 + nth)] {
            let said = ask(&address);
            assert!(said.contains("No buffer space"), "the table takes {address}: {said}");
        }
        for (address, disputed) in [(there, false), (there, true), (free, false)] {
            let (address, link) = (ip(address), LinkRef::standing("eth0", link));
            kernel.apply(&Op::Ask { link, address, disputed }).unwrap();
            match address == ip(free) {
                false => wait_for(&mut kernel, address, |entry| entry.state == NeighbourState::Reachable),
                true => wait_for(&mut kernel, address, |entry| entry.state == NeighbourState::Failed),
            }
        }
        // The kernel takes over entries that were answered, full table or not.
        let (address, link) = (ip(there), LinkRef::standing("eth0", link));
        kernel.apply(&Op::ReleaseNeighbour { link, address }).unwrap();
        wait_for(&mut kernel, address, |entry| !entry.ours && entry.mac.is_some());
    }
    kernel.resync_host();
    kernel.drain();
    let tables = kernel.neighbour_tables();
    assert!(tables.len() == 2 && tables.iter().all(|table| table.refuses), "{tables:?}");

    println!("full for {:?}, refused {:?}", full.elapsed(), crowd.refusals());
    let end = Instant::now();
    crowd.leave().unwrap();
    eventually(EMPTIED, || {
        let said = [ask("192.0.2.110"), ask("2001:db8::110")];
        anyhow::ensure!(said == ["", ""], "{said:?}");
        kernel.resync_host();
        kernel.drain();
        let tables = kernel.neighbour_tables();
        anyhow::ensure!(tables.iter().all(|table| !table.is_nearly_full()), "{tables:?}");
        Ok(())
    })
    .unwrap();
    println!("emptied in {:?}", end.elapsed());
}
