//! From an address in a guest to its route on the host.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::libc;

use crate::floor::{self, Floor};
use crate::netlink::Event;
use crate::options::{Options, Section};
use crate::report::{Report, Row};
use crate::statistics::{Blocks, micros};
use crate::watch::Watch;
use crate::world::{self, PATIENCE, World};

/// Changes before those that count, in each block.
const WARM_UP: u32 = 5;

/// How fast addresses change.
struct Pace {
    what: &'static str,
    pause: Duration,
    blocks: u32,
    changes: u32,
}

/// Measures the daemon and the floor, block by block in turns. During the daemon's turn there is no floor,
/// and during the floor's the daemon is halted.
pub(crate) fn measure(world: &mut World, options: &Options, report: &mut Report) -> Result<()> {
    world.start()?;
    let size = world.guests.len() as u32;
    let watch = world.watch(&[libc::RTNLGRP_IPV4_ROUTE])?;
    let paces = [
        Pace { what: "10 ms apart", pause: Duration::from_millis(10), blocks: 10, changes: options.changes },
        Pace {
            what: "300 ms apart",
            pause: Duration::from_millis(300),
            blocks: 5,
            changes: options.changes / 10,
        },
    ];
    for pace in paces {
        let (mut ours, mut floors) = (Blocks::default(), Blocks::default());
        for _ in 0..pace.blocks {
            ours.push(block(world, &watch, &pace, world::PROTOCOL)?);
            world.settle()?;
            world.pause()?;
            let floor = Floor::start(world)?;
            floors.push(block(world, &watch, &pace, floor::PROTOCOL)?);
            floor.stop()?;
            world.resume()?;
        }
        let floor = Row::blocks(Section::Latency, format!("floor, {}", pace.what), "µs", &floors)?;
        let median = floors.all().context("no floor")?.median();
        let ours = Row::blocks(Section::Latency, format!("macvlan-shim, {}", pace.what), "µs", &ours)?;
        report.add(floor.with(size));
        report.add(ours.with(size).beside("floor", median).aim_of_ratio(if size == 1 { 1.5 } else { 3.0 }));
    }
    Ok(())
}

/// One block of changes, in microseconds. Each change is a new address for the next guest in turn. The
/// previous one goes when the new one has been measured, so that nobody has many.
fn block(world: &mut World, watch: &Watch, pace: &Pace, by: u8) -> Result<Vec<f64>> {
    let count = pace.changes.div_ceil(pace.blocks);
    let mut times = Vec::new();
    let mut before: Option<(usize, Ipv4Addr)> = None;
    for change in 0..WARM_UP + count {
        let number = change as usize % world.guests.len();
        let address = world.next_address();
        let guest = &world.guests[number];
        let start = Instant::now();
        guest.add(address)?;
        let seen = routed(watch, address, by).with_context(|| world.output())?;
        if let Some((guest, address)) = before.replace((number, address)) {
            world.guests[guest].remove(address)?;
        }
        if change >= WARM_UP {
            times.push(micros(seen - start));
        }
        std::thread::sleep(pace.pause.saturating_sub(start.elapsed()));
    }
    if let Some((guest, address)) = before {
        world.guests[guest].remove(address)?;
    }
    Ok(times)
}

fn routed(watch: &Watch, address: Ipv4Addr, by: u8) -> Result<Instant> {
    let is_it = |event| matches!(event, Event::Route { new: true, to: IpAddr::V4(to), protocol, .. } if to == address && protocol == by);
    watch.until(PATIENCE, &format!("a route to {address}"), is_it)
}
