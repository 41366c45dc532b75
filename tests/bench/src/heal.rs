//! From a fault to its cure.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netlink::{Event, Request};
use crate::options::{Options, Section};
use crate::report::{Report, Row};
use crate::statistics::{Sample, millis};
use crate::watch::{EVERYTHING, Watch};
use crate::world::{HOST, PARENT, PATIENCE, PROTOCOL, SHIM, World, all_routed};

/// A fault: causes it, and returns when it was caused (or could begin to be cured) and when it was cured.
type Fault = fn(&World, &Watch) -> Result<(Instant, Instant)>;

const FAULTS: [(&str, Fault); 5] = [
    ("a route is deleted", route_deleted),
    ("a neighbour entry is deleted", neighbour_deleted),
    ("the shim is set down: all routes", shim_down),
    ("the parent was down: first frame to a guest", parent_down),
    ("the host's address is back: all routes", address_back),
];

/// Measures each fault several times.
pub(crate) fn measure(world: &mut World, options: &Options, report: &mut Report) -> Result<()> {
    world.start()?;
    let size = world.guests.len() as u32;
    for (what, fault) in FAULTS {
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            let watch = world.watch(EVERYTHING)?;
            let (start, end) = fault(world, &watch).with_context(|| format!("{what}\n{}", world.output()))?;
            times.push(millis(end.saturating_duration_since(start)));
            world.settle()?;
        }
        let sample = Sample::new(times).context("no rounds")?;
        report.add(Row::sample(Section::Heal, what, "ms", &sample).with(size));
    }
    Ok(())
}

fn route_deleted(world: &World, watch: &Watch) -> Result<(Instant, Instant)> {
    let (shim, address) = (world.index(SHIM)?, world.guests[0].address());
    let start = Instant::now();
    world.socket.order(Request::delete_route(shim, address, PROTOCOL))?;
    Ok((start, all_routed(watch, [address.into()].into(), PROTOCOL)?))
}

fn neighbour_deleted(world: &World, watch: &Watch) -> Result<(Instant, Instant)> {
    let (shim, guest) = (world.index(SHIM)?, world.guests[0].address());
    let start = Instant::now();
    world.socket.order(Request::delete_neighbour(shim, guest))?;
    let end = watch.until(PATIENCE, "the neighbour entry is back", |event| {
        matches!(event, Event::Neighbour { new: true, permanent: true, address, link, protocol: PROTOCOL }
            if address == IpAddr::from(guest) && link == shim)
    })?;
    Ok((start, end))
}

fn shim_down(world: &World, watch: &Watch) -> Result<(Instant, Instant)> {
    let shim = world.index(SHIM)?;
    let start = Instant::now();
    world.socket.order(Request::set_up(shim, false))?;
    Ok((start, all_routed(watch, world.addresses(), PROTOCOL)?))
}

/// The routes stay where they are, but lead nowhere.
fn parent_down(world: &World, watch: &Watch) -> Result<(Instant, Instant)> {
    let (parent, shim) = (world.index(PARENT)?, world.index(SHIM)?);
    world.socket.order(Request::set_up(parent, false))?;
    watch.until(
        PATIENCE,
        "the shim has no carrier",
        |event| matches!(event, Event::Link { new: true, index, works: false, .. } if index == shim),
    )?;
    world.settle()?;
    let guest = world.guests[0].listen()?;
    guest.set_read_timeout(Some(Duration::from_millis(1)))?;
    let host = world.host.within(|| Ok(UdpSocket::bind((HOST, 0))?))?;
    let to = SocketAddr::from((world.guests[0].address(), guest.local_addr()?.port()));
    let start = Instant::now();
    world.socket.order(Request::set_up(parent, true))?;
    while start.elapsed() < PATIENCE {
        // Where there is no way yet, this fails.
        let _ = host.send_to(b"?", to);
        if guest.recv(&mut [0; 8]).is_ok() {
            return Ok((start, Instant::now()));
        }
    }
    bail!("not within {PATIENCE:?}: a frame from the host gets to the guest")
}

/// It lasts long enough for the daemon to notice.
fn address_back(world: &World, watch: &Watch) -> Result<(Instant, Instant)> {
    let parent = world.index(PARENT)?;
    world.socket.order(Request::delete_address(parent, HOST, crate::guests::PREFIX))?;
    world.settle()?;
    watch.forget();
    let start = Instant::now();
    world.socket.order(Request::add_address(parent, HOST, crate::guests::PREFIX))?;
    Ok((start, all_routed(watch, world.addresses(), PROTOCOL)?))
}
