//! The scripts that people use today, beside the daemon, on a real LXD with a real guest.
//!
//! One measurement is about an address that a running guest takes, which LXD reports to nobody: from the
//! request in the guest's namespace to the RTM_NEWROUTE seen on the host. The other is about the address that
//! a starting guest gets by DHCP: from its event to that of the route. The watchdog checks every 5 s, and a
//! change comes at any moment between two checks.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Daemon, Guest, Lab, Lan, Machine, Share};
use nix::libc;

use crate::netlink::{Event, Request, Socket};
use crate::options::{Options, Section};
use crate::report::{Report, Row};
use crate::statistics::{Sample, millis};
use crate::watch::Watch;

const WATCHDOG: &str = include_str!("watchdog.sh");
const EVENTS: &str = include_str!("events.sh");

/// The shim of the scripts.
const LINK: &str = "nic-macvlan";

/// The watchdog's pause.
const PERIOD: Duration = Duration::from_secs(5);

/// A change that has not happened after this time never will.
const NEVER: Duration = Duration::from_secs(5);
/// This many changes show that it never does.
const TRIES_OF_NEVER: u32 = 3;

/// Long enough for everything that is not a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host with LXD, and a guest on its `eth0`.
struct Site {
    guest: Guest,
    passed: u8,
    host: Machine,
    /// Its DHCP server.
    _lan: Lan,
    _lab: Lab,
}

/// Measures the daemon and then each script, one at a time.
pub(crate) fn measure(options: &Options, binary: &str, report: &mut Report) -> Result<()> {
    let mut site = Site::new()?;
    let changes = options.recipe_changes;
    let starts = changes.div_ceil(2);

    let daemon = site.host.spawn(&[binary, "run"])?;
    daemon.wait_line("add route", PATIENCE)?;
    let change = site.changes(changes, Duration::from_millis(500))?;
    let start = site.starts(starts, Duration::ZERO)?;
    drop(daemon);
    site.host.run(&[binary, "cleanup"])?;
    report.add(Row::sample(Section::Recipes, "macvlan-shim: an address changes", "ms", &change));
    report.add(Row::sample(Section::Recipes, "macvlan-shim: a guest starts", "ms", &start));

    let daemon = site.script(WATCHDOG)?;
    let row =
        Row::sample(Section::Recipes, "watchdog: an address changes", "ms", &site.changes(changes, PERIOD)?);
    report.add(row.beside("macvlan-shim", change.median()));
    let row = Row::sample(Section::Recipes, "watchdog: a guest starts", "ms", &site.starts(starts, PERIOD)?);
    report.add(row.beside("macvlan-shim", start.median()));
    drop(daemon);

    let _daemon = site.script(EVENTS)?;
    let row = match site.never_changes()? {
        None => Row::value(Section::Recipes, "event script: an address changes", "", f64::INFINITY)
            .remark("LXD has no event for it"),
        Some(time) => Row::value(Section::Recipes, "event script: an address changes", "ms", millis(time))
            .beside("macvlan-shim", change.median()),
    };
    report.add(row);
    let row = Row::sample(
        Section::Recipes,
        "event script: a guest starts",
        "ms",
        &site.starts(starts, Duration::ZERO)?,
    );
    report.add(row.beside("macvlan-shim", start.median()));
    Ok(())
}

impl Site {
    fn new() -> Result<Site> {
        let lab = Lab::with(Share::All)?;
        let lan = lab.lan("192.168.77.0/24", "")?;
        lan.dhcp()?;
        let host = lab.host("node")?;
        host.plug("eth0", &lan, &["192.168.77.11/24"])?;
        let lxd = host.lxd()?;
        lxd.macvlan_profile("mv", "eth0")?;
        let guest = lxd.launch("c1", &["-p", "mv"])?;
        guest.ipv4("eth0")?;
        Ok(Site { guest, passed: 0, host, _lan: lan, _lab: lab })
    }

    /// Starts a script, and makes the shim for it.
    fn script(&self, script: &str) -> Result<Daemon> {
        self.host.sh(&format!(
            "ip link del {LINK} 2>/dev/null || true
             ip link set eth0 promisc on
             ip link add {LINK} link eth0 type macvlan mode bridge
             ip addr add 192.168.77.72/32 dev {LINK}
             ip link set {LINK} up"
        ))?;
        let mut command = self.host.command("bash");
        command.args(["-c", script]).env("MACVLAN_IF", LINK).env("GUEST", self.guest.name());
        let daemon = self.host.daemon(command)?;
        // The event script does not say when it has begun to listen.
        std::thread::sleep(Duration::from_secs(1));
        Ok(daemon)
    }

    /// Has the guest take this many new addresses, each at another moment of the period.
    fn changes(&mut self, count: u32, period: Duration) -> Result<Sample> {
        let mut times = Vec::new();
        for number in 0..count {
            std::thread::sleep(moment(number, period));
            times.push(millis(self.change(PATIENCE)?));
        }
        Sample::new(times).context("no changes")
    }

    /// The first time, if there is one.
    fn never_changes(&mut self) -> Result<Option<Duration>> {
        let changes = (0..TRIES_OF_NEVER).filter_map(|_| self.change(NEVER).ok()).collect::<Vec<_>>();
        Ok(changes.into_iter().min())
    }

    /// The guest takes a new address, and when its route is there, drops it.
    fn change(&mut self, within: Duration) -> Result<Duration> {
        // Below those that DHCP leases.
        self.passed = (self.passed + 1) % 8;
        let address = Ipv4Addr::new(192, 168, 77, 12 + self.passed);
        let routes = Watch::open(&self.host, &[libc::RTNLGRP_IPV4_ROUTE])?;
        // It is not kept, because it would keep the guest's namespace from ending with the guest.
        let (socket, index) =
            self.guest.within(|| Ok((Socket::open()?, nix::net::if_::if_nametoindex("eth0")?)))?;
        let start = Instant::now();
        socket.order(Request::add_address(index, address, 24))?;
        let time = routed(&routes, address.into(), within).map(|end| end - start);
        socket.order(Request::delete_address(index, address, 24))?;
        // A script leaves the route, and it is to be seen when it comes.
        self.host.sh(&format!("ip route del {address} dev {LINK} 2>/dev/null || true"))?;
        time
    }

    /// Stops and starts the guest this many times, each at another moment of the period.
    fn starts(&mut self, count: u32, period: Duration) -> Result<Sample> {
        let address = IpAddr::from(self.guest.ipv4("eth0")?);
        let mut times = Vec::new();
        for number in 0..count {
            self.guest.stop_hard()?;
            std::thread::sleep(moment(number, period));
            self.host.sh(&format!("ip route del {address} dev {LINK} 2>/dev/null || true"))?;
            let addresses = Watch::open_everywhere(&self.host, &[libc::RTNLGRP_IPV4_IFADDR])?;
            let routes = Watch::open(&self.host, &[libc::RTNLGRP_IPV4_ROUTE])?;
            self.guest.start()?;
            // DHCP gives it the same address.
            let start = addresses.until(
                PATIENCE,
                "the guest has its address",
                |event| matches!(event, Event::Address { new: true, address: seen, .. } if seen == address),
            )?;
            let end = routed(&routes, address, PATIENCE)?;
            times.push(millis(end.saturating_duration_since(start)));
        }
        Sample::new(times).context("no starts")
    }
}

/// One of many moments in a period: the golden section spreads any number of them evenly.
fn moment(number: u32, period: Duration) -> Duration {
    period.mul_f64((f64::from(number) * 0.618_034).fract())
}

fn routed(routes: &Watch, address: IpAddr, within: Duration) -> Result<Instant> {
    routes.until(
        within,
        "the host has a route to the guest",
        |event| matches!(event, Event::Route { new: true, to, .. } if to == address),
    )
}
