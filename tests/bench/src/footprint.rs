//! Memory, processor time and wake-ups.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::options::{Options, Section};
use crate::process::{Usage, usage};
use crate::report::{Report, Row};
use crate::world::World;

/// The time between two changes under load.
const PAUSE: Duration = Duration::from_millis(10);

/// Measures the daemon while nothing happens, and while a hundred addresses change in a second.
pub(crate) fn measure(world: &mut World, options: &Options, report: &mut Report) -> Result<()> {
    world.start()?;
    // It asks the LAN for the addresses of its guests, 64 in three seconds.
    std::thread::sleep(Duration::from_secs(3) * (world.guests.len() as u32 / 64));
    world.settle()?;
    let time = Duration::from_secs(options.seconds);
    let pid = world.pid()?;
    let before = usage(pid)?;
    std::thread::sleep(time);
    tell(report, world, "idle", &before, &usage(pid)?, time);
    let before = usage(pid)?;
    load(world, time)?;
    tell(report, world, "100 changes a second", &before, &usage(pid)?, time);
    world.settle()
}

/// Gives guests in turn an address, and takes the previous one from them.
fn load(world: &mut World, time: Duration) -> Result<()> {
    let start = Instant::now();
    let mut before: Option<(usize, Ipv4Addr)> = None;
    let mut change = 0;
    while start.elapsed() < time {
        let number = change as usize % world.guests.len();
        let address = world.next_address();
        world.guests[number].add(address)?;
        if let Some((guest, address)) = before.replace((number, address)) {
            world.guests[guest].remove(address)?;
        }
        change += 1;
        std::thread::sleep((PAUSE * change).saturating_sub(start.elapsed()));
    }
    if let Some((guest, address)) = before {
        world.guests[guest].remove(address)?;
    }
    Ok(())
}

fn tell(report: &mut Report, world: &World, what: &str, before: &Usage, after: &Usage, time: Duration) {
    let size = world.guests.len() as u32;
    let mut add = |label: &str, unit, value: f64, aim: Option<f64>| {
        let row = Row::value(Section::Footprint, format!("{what}: {label}"), unit, value).with(size);
        report.add(match aim {
            Some(aim) => row.aim(aim),
            None => row,
        });
    };
    let idle = what == "idle";
    let seconds = time.as_secs_f64();
    add("memory", "MB", after.resident as f64 * 1024.0 / 1e6, Some(10.0));
    add("anonymous memory", "MB", after.anonymous as f64 * 1024.0 / 1e6, None);
    // Less than 0.5 ms in a second are 0.0 %, as `ps` and `top` show it.
    let processor = (after.processor - before.processor).as_secs_f64();
    add("processor", "ms/s", processor * 1e3 / seconds, idle.then_some(0.5));
    if idle {
        add("processor in the time of one look (30 s)", "ms", processor * 1e3 / seconds * 30.0, Some(10.0));
    }
    let programs = (after.ticks_of_programs - before.ticks_of_programs) as f64 * 10.0;
    add("processor of programs that it ran (nft)", "ms/s", programs / seconds, None);
    let switches = after.switches_since(before) as f64;
    add("context switches", "/min", switches / seconds * 60.0, None);
}
