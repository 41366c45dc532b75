//! From the start of the daemon to readiness.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netlink::Event;
use crate::options::{Options, Section};
use crate::report::{Report, Row};
use crate::statistics::{Sample, millis};
use crate::watch::{EVERYTHING, Watch};
use crate::world::{self, LINK_GROUP, PATIENCE, SHIM, World, all_routed};

/// The times of one start, in milliseconds.
#[derive(Default)]
struct Times {
    /// `READY=1` came.
    up: Vec<f64>,
    /// The last route was seen.
    routes: Vec<f64>,
    /// The status is ready and each guest reached.
    ready: Vec<f64>,
}

/// Measures starts with nothing of ours in the kernel and with everything in place, in turns.
pub(crate) fn measure(world: &mut World, options: &Options, report: &mut Report) -> Result<()> {
    let size = world.guests.len() as u32;
    let watch = world.watch(EVERYTHING)?;
    let (mut cold, mut adopting, mut seen) = (Times::default(), Times::default(), 0);
    for _ in 0..options.rounds.div_ceil(2) {
        world.stop()?;
        world.wipe()?;
        let start = Instant::now();
        watch.forget();
        one(world, start, &mut cold)?;
        let last = all_routed(&watch, world.addresses(), world::PROTOCOL).with_context(|| world.output())?;
        cold.routes.push(millis(last - start));
        world.settle()?;
        world.stop()?;
        let shim = world.index(SHIM)?;
        watch.forget();
        one(world, Instant::now(), &mut adopting)?;
        world.settle()?;
        seen += count_ours(&watch, shim);
    }
    for (what, times) in [("cold", cold), ("adopting", adopting)] {
        let Times { up, routes, ready } = times;
        let row = |label: &str, values: Vec<f64>| {
            let sample = Sample::new(values)?;
            Some(Row::sample(Section::Start, format!("{what}: {label}"), "ms", &sample).with(size))
        };
        row("kernel read, READY=1", up).into_iter().for_each(|row| report.add(row));
        row("last route seen", routes).into_iter().for_each(|row| report.add(row));
        let ready = row("status ready, all guests reached", ready).context("no rounds")?;
        report.add(ready.aim(200.0));
    }
    let writes = f64::from(seen);
    report.add(
        Row::value(Section::Start, "adopting: events of our objects in the kernel", "", writes)
            .with(size)
            .aim(0.0),
    );
    Ok(())
}

/// Starts the daemon and waits until it is ready. Questions for its status keep it from its work, so there is
/// a pause between two of them.
fn one(world: &mut World, start: Instant, times: &mut Times) -> Result<()> {
    const NOTIFY: &str = "/run/bench.notify";
    const PAUSE: Duration = Duration::from_millis(5);
    let place = world.host.path(NOTIFY);
    let _ = std::fs::remove_file(&place);
    let notify = UnixDatagram::bind(&place)?;
    notify.set_read_timeout(Some(PATIENCE))?;
    let mut command = world.command();
    command.env("NOTIFY_SOCKET", NOTIFY);
    let daemon = world.host.daemon(command)?;
    world.adopt(daemon);
    times.up.push(millis(ready(&notify)? - start));
    while !world.is_complete(&world.status()?) {
        if start.elapsed() > PATIENCE {
            bail!("not ready after {PATIENCE:?}: {}", world.output());
        }
        std::thread::sleep(PAUSE);
    }
    times.ready.push(millis(start.elapsed()));
    Ok(())
}

/// When `READY=1` came.
fn ready(notify: &UnixDatagram) -> Result<Instant> {
    let mut buffer = [0; 4096];
    loop {
        let length = notify.recv(&mut buffer).context("waiting for the message to systemd")?;
        if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
            return Ok(Instant::now());
        }
    }
}

/// How many events were about something of ours. Entries of the parent are the answers to earlier questions.
fn count_ours(watch: &Watch, shim: u32) -> u32 {
    let ours = |event: &Event| match *event {
        Event::Route { protocol, link, .. } => protocol == world::PROTOCOL || link == shim,
        Event::Link { index, group, .. } => group == LINK_GROUP || index == shim,
        Event::Neighbour { link, .. } | Event::Address { link, .. } | Event::Other { link } => link == shim,
    };
    watch.seen().iter().filter(|event| ours(event)).count() as u32
}
