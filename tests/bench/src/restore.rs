//! From the deletion of the shim to its last route.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::floor;
use crate::netlink::Request;
use crate::options::{Options, Section};
use crate::report::{Report, Row};
use crate::statistics::{Sample, millis};
use crate::watch::{EVERYTHING, Watch};
use crate::world::{self, HOST, PARENT, SHIM, World, all_routed};

/// The objects that `ip -batch` makes in place of the shim.
const LINK: &str = "bench0";

/// A program that deletes the same thing more than once in this time is at war with the daemon, which then
/// takes its time.
const NO_FIGHT: Duration = Duration::from_millis(1_200);

/// Measures the daemon and `ip -batch` in turns, and halts the daemon outside its turn. The time counts from
/// the order to delete the shim, for both. A person who learns of it and has the batch at hand could not be
/// faster.
pub(crate) fn measure(world: &mut World, options: &Options, report: &mut Report) -> Result<()> {
    world.start()?;
    let size = world.guests.len() as u32;
    let watch = world.watch(EVERYTHING)?;
    let batches = [batch(world, false), batch(world, true)];
    let (mut ours, mut deletions, mut theirs) = (vec![], vec![], [vec![], vec![]]);
    for _ in 0..options.rounds {
        let shim = world.index(SHIM)?;
        watch.forget();
        let start = Instant::now();
        world.socket.order(Request::delete_link(shim))?;
        let last = all_routed(&watch, world.addresses(), world::PROTOCOL).with_context(|| world.output())?;
        ours.push(millis(last - start));
        world.settle()?;
        std::thread::sleep(NO_FIGHT);
        for (batch, times) in batches.iter().zip(&mut theirs) {
            world.pause()?;
            let shim = world.index(SHIM)?;
            watch.forget();
            let start = Instant::now();
            world.socket.order(Request::delete_link(shim))?;
            deletions.push(millis(start.elapsed()));
            let last = by_batch(world, &watch, batch)?;
            times.push(millis(last - start));
            world.socket.order(Request::delete_link(world.index(LINK)?))?;
            world.resume()?;
            std::thread::sleep(NO_FIGHT);
        }
    }
    let rows = [
        ("the deletion itself, nobody doing anything", deletions),
        ("ip -batch: link and routes", std::mem::take(&mut theirs[0])),
        ("ip -batch: link, neighbours and routes", std::mem::take(&mut theirs[1])),
    ];
    let mut routes_only = 0.0;
    for (what, times) in rows {
        let sample = Sample::new(times).context("no rounds")?;
        if what.ends_with("link and routes") {
            routes_only = sample.median();
        }
        let row = Row::sample(Section::Restore, what, "ms", &sample).with(size);
        report.add(if what.starts_with("the deletion") { row.remark("part of all below") } else { row });
    }
    let ours = Sample::new(ours).context("no rounds")?;
    let row = Row::sample(Section::Restore, "macvlan-shim: link, settings, neighbours, routes", "ms", &ours);
    report.add(row.with(size).beside("ip -batch of routes", routes_only).aim_of_ratio(1.0));
    Ok(())
}

/// The commands that make an equal link and the same routes.
fn batch(world: &World, neighbours: bool) -> String {
    let mut batch = format!("link add {LINK} link {PARENT} type macvlan mode bridge\n");
    batch += &format!("link set {LINK} addrgenmode none multicast off\n");
    if neighbours {
        for guest in &world.guests {
            let mac = guest.mac().map(|byte| format!("{byte:02x}")).join(":");
            batch += &format!("neigh add {} lladdr {mac} dev {LINK} nud permanent\n", guest.address());
        }
    }
    batch += &format!("link set {LINK} up\n");
    for guest in &world.guests {
        let (to, by) = (guest.address(), floor::PROTOCOL);
        batch += &format!("route add {to}/32 dev {LINK} proto {by} scope link src {HOST}\n");
    }
    batch
}

/// Runs it from a file, started by a thread that is already in the host's namespace. Returns when its last
/// route was seen.
fn by_batch(world: &World, watch: &Watch, batch: &str) -> Result<Instant> {
    let file = world.host.path("/run/bench.batch");
    std::fs::write(&file, batch)?;
    let output = world.host.within(|| {
        let mut ip = Command::new("ip");
        ip.arg("-batch").arg(&file).stdin(Stdio::null());
        ip.output().context("ip -batch")
    })?;
    ensure!(output.status.success(), "ip -batch: {}", String::from_utf8_lossy(&output.stderr));
    all_routed(watch, world.addresses(), floor::PROTOCOL)
}
