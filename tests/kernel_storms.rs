//! The kernel layer where events come faster than it can take them in, and where namespaces change while it
//! reads them. On a machine of the lab, with no server. Needs root; without it the tests fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, ensure};
use ipnet::IpNet;
use lab::{Lab, Machine, Share, Storm, until};
use macvlan_shim::kernel::Kernel;
use macvlan_shim::model::snapshot::{ChildKey, Netns};
use nix::time::ClockId;

/// An emulated machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a storm may take to fill a queue. It takes seconds, and a minute or two on a busy machine.
const FILLED: Duration = Duration::from_secs(300);

/// More addresses than any guest needs.
const ADDRESSES: u32 = 10_000;

/// A host on a LAN.
fn host(lab: &Lab) -> Result<Machine> {
    let lan = lab.lan("10.77.0.0/16", "")?;
    let host = lab.host("node")?;
    host.plug("eth0", &lan, &["10.77.0.11/16"])?;
    Ok(host)
}

/// Makes a namespace with a child that has this address.
fn appear(name: &str, address: &str) -> String {
    format!(
        "ip netns add {name}; ip link add {name} link eth0 type macvlan mode bridge; ip link set {name} netns {name}; \
         printf 'link set {name} name eth0\\naddr add {address}/16 dev eth0\\nlink set eth0 up\\n' | ip -n {name} -batch -\n"
    )
}

/// The children in guests' namespaces that have an address.
fn holders(kernel: &Kernel, address: &str) -> Vec<ChildKey> {
    let children = kernel.snapshot().children.iter();
    let of_guests = children.filter(|(key, _)| key.netns != Netns::Host);
    of_guests
        .filter(|(_, child)| child.addresses.keys().any(|known| known.addr().to_string() == address))
        .map(|(key, _)| *key)
        .collect()
}

/// The addresses of the guests that a netns id stands for.
fn known_by_id(kernel: &Kernel) -> BTreeMap<Netns, BTreeSet<IpNet>> {
    let mut known: BTreeMap<Netns, BTreeSet<IpNet>> = BTreeMap::new();
    for (key, child) in &kernel.snapshot().children {
        known.entry(key.netns).or_default().extend(child.addresses.keys());
    }
    known
}

/// When a namespace last came or went.
fn last_change(host: &Machine) -> Result<SystemTime> {
    Ok(host.path("/run/netns").metadata()?.modified()?)
}

/// Takes in everything that has happened. Returns how long it had a processor for that, however many others
/// want one.
fn turn(kernel: &mut Kernel) -> Duration {
    let time = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default();
    let start = time();
    kernel.drain();
    time() - start
}

fn drops(host: &Machine) -> u64 {
    let sum = host.sh("awk 'NR > 1 { sum += $9 } END { print sum }' /proc/net/netlink");
    sum.ok().and_then(|sum| sum.trim().parse().ok()).unwrap_or(0)
}

/// Lost events are only found by reading every namespace, and the reading goes on while events take all of
/// each turn.
#[test]
fn a_guest_that_never_stops_does_not_keep_the_others_from_being_read() -> Result<()> {
    let lab = Lab::with(Share::Half)?;
    let host = host(&lab)?;
    host.sh(&(1..30).map(|n| appear(&format!("g{n}"), &format!("10.77.1.{n}"))).collect::<String>())?;
    host.within(|| {
        let mut kernel = Kernel::open()?;
        ensure!(holders(&kernel, "10.77.1.29").len() == 1);
        let storm = Storm::start(File::open(host.path("/run/netns/g1"))?, "eth0", 50_000);
        until(FILLED, "events are lost", || drops(&host) > 0)?;
        host.sh("ip -n g29 addr add 10.77.2.29/16 dev eth0")?;
        let start = Instant::now();
        let (mut turns, mut longest) = (0, Duration::ZERO);
        while holders(&kernel, "10.77.2.29").is_empty() {
            ensure!(turns < 100, "not read in {:?} and {turns} turns", start.elapsed());
            turns += 1;
            // Its caller has other things to do, so more events always wait than a turn can take in.
            std::thread::sleep(Duration::from_millis(200));
            longest = longest.max(turn(&mut kernel));
        }
        println!("read after {turns} turns of at most {longest:?}, {} changes in all", storm.stop()?);
        Ok(())
    })
}

/// The kernel says so once, and not again before its queue was empty. Until then it drops events silently.
#[test]
fn events_that_are_lost_after_the_kernel_said_so_are_not_forgotten() -> Result<()> {
    let lab = Lab::with(Share::Half)?;
    let host = host(&lab)?;
    host.sh(&(1..3).map(|n| appear(&format!("g{n}"), &format!("10.77.1.{n}"))).collect::<String>())?;
    host.within(|| {
        let mut kernel = Kernel::open()?;
        let storm = Storm::start(File::open(host.path("/run/netns/g1"))?, "eth0", 50_000);
        until(FILLED, "events are lost", || drops(&host) > 0)?;
        (0..3).for_each(|_| drop(kernel.drain()));
        let before = drops(&host);
        until(FILLED, "more are lost", || drops(&host) > before)?;
        host.sh("ip -n g2 addr add 10.77.2.2/16 dev eth0")?;
        storm.stop()?;
        until(PATIENCE, "the change is known", || {
            kernel.drain();
            !holders(&kernel, "10.77.2.2").is_empty()
        })
    })
}

#[test]
fn namespaces_that_change_hands_while_they_are_read_end_up_as_they_are() -> Result<()> {
    let lab = Lab::new()?;
    let host = host(&lab)?;
    host.sh(&(1..10).map(|n| appear(&format!("g{n}"), &format!("10.77.1.{n}"))).collect::<String>())?;
    // Each namespace gets the id that the one before gave up.
    let changes: String = (0..60)
        .map(|n| {
            format!(
                "ip netns del g{}; {}",
                1 + n % 9,
                appear(&format!("g{}", 1 + n % 9), &format!("10.77.2.{n}"))
            )
        })
        .collect();
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| host.sh(&changes));
        host.within(|| {
            let mut kernel = Kernel::open()?;
            let mut known = known_by_id(&kernel);
            let (mut readings, mut overtaken) = (0, 0);
            while !changes.is_finished() {
                let before = last_change(&host)?;
                kernel.resync();
                kernel.drain();
                readings += 1;
                overtaken += u32::from(last_change(&host)? != before);
                for (id, addresses) in known_by_id(&kernel) {
                    known.entry(id).or_default().extend(addresses);
                }
            }
            changes.join().map_err(|_| anyhow!("panicked"))??;
            // No two namespaces had the same address.
            let reused = known.values().filter(|addresses| addresses.len() > 1).count();
            println!(
                "read again {readings} times, {overtaken} while one came or went; {reused} ids were reused"
            );
            ensure!(overtaken > 0, "none came or went while they were read");
            ensure!(reused > 0, "no id was seen to be reused: {known:?}");
            until(PATIENCE, "it knows every guest", || {
                kernel.drain();
                Kernel::open().is_ok_and(|fresh| {
                    fresh.snapshot().children == kernel.snapshot().children
                        && fresh.snapshot().children.len() == 9
                })
            })?;
            ensure!(kernel.problems().is_empty(), "{:?}", kernel.problems());
            Ok(())
        })
    })
}

/// It has more addresses than anybody keeps, and they change faster than a list of them can be read.
#[test]
fn another_guest_is_followed_beside_one_with_10000_addresses_that_change() -> Result<()> {
    let lab = Lab::with(Share::Half)?;
    let host = host(&lab)?;
    host.sh(&(1..3).map(|n| appear(&format!("g{n}"), &format!("10.77.1.{n}"))).collect::<String>())?;
    let many: Vec<String> = (0..ADDRESSES)
        .map(|n| format!("addr add 10.{}.{}.{}/32 dev eth0\n", 80 + (n >> 16), (n >> 8) & 255, n & 255))
        .collect();
    let start = Instant::now();
    for some in many.chunks(10_000) {
        host.run_with_stdin(&["ip", "-n", "g1", "-batch", "-"], &some.concat())?;
    }
    println!("{ADDRESSES} addresses made in {:?}", start.elapsed());
    host.within(|| {
        let start = Instant::now();
        let mut kernel = Kernel::open()?;
        println!("read in {:?}", start.elapsed());
        let storm = Storm::start(File::open(host.path("/run/netns/g1"))?, "eth0", 20_000);
        let (mut delays, mut turns) = (Vec::new(), Vec::new());
        for n in 1..30 {
            let address = format!("10.77.2.{n}");
            let add = format!("ip -n g2 addr add {address}/16 dev eth0");
            let added = std::thread::scope(|scope| {
                let adding = scope.spawn(|| host.sh(&add).map(|_| Instant::now()));
                let start = Instant::now();
                while holders(&kernel, &address).is_empty() {
                    ensure!(start.elapsed() < PATIENCE, "{address} is not known");
                    turns.push(turn(&mut kernel));
                    std::thread::sleep(Duration::from_micros(100));
                }
                adding.join().map_err(|_| anyhow!("panicked"))?
            })?;
            delays.push(added.elapsed());
            // The turns that come meanwhile.
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(50) {
                turns.push(turn(&mut kernel));
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        println!("{} changes", storm.stop()?);
        delays.sort();
        turns.sort();
        println!("known after {delays:?}; the longest turn took {:?}", turns.last());
        Ok(())
    })
}
