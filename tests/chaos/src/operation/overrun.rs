//! A guest changes its addresses faster than the daemon, which gets no turn meanwhile, can be told. So events
//! are lost.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Storm, eventually};

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::Intent;
use crate::site::{ROLES, Site};

/// The number of changes of addresses in a second.
const CHANGES: u32 = 20_000;

/// More than enough for the kernel's queue to overflow. Some 20,000 changes fill it, and a busy machine makes
/// few in a second.
const SOON: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Overrun {
    guest: usize,
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let guest = dice.roll(ROLES.len());
    let possible = intent.daemon.running && intent.guests[guest].running;
    if possible { Some(Box::new(Overrun { guest })) } else { None }
}

impl Operation for Overrun {
    fn subject(&self) -> Subject {
        Subject::Daemon
    }

    fn kind(&self) -> &'static str {
        "events are lost in a storm"
    }

    fn enter(&self, _: &mut Intent) {}

    fn perform(&self, site: &Site, _: &Intent) -> Result<()> {
        let netns = File::open(site.host.path(&format!("/proc/{}/ns/net", site.pid(self.guest)?)))?;
        site.under_test.signal("STOP")?;
        let lost = lose_events(site, netns);
        // No later event tells of this.
        let another = (0..ROLES.len()).find(|guest| *guest != self.guest && site.pid(*guest).is_ok());
        let changed = another.map(|guest| {
            let address = format!("fd90::{}:5/64 dev eth0", ROLES[guest].number);
            site.in_guest(guest, &format!("ip addr del {address} || ip addr add {address} nodad"))
        });
        site.under_test.signal("CONT")?;
        lost.and(changed.transpose().map(drop))
    }
}

/// A storm until the kernel drops events.
fn lose_events(site: &Site, netns: File) -> Result<()> {
    let before = dropped(site)?;
    let storm = Storm::start(netns, "eth0", CHANGES);
    let lost = eventually(SOON, || {
        ensure!(dropped(site)? > before || !storm.blows(), "no event was lost");
        Ok(())
    });
    storm.stop()?;
    lost
}

/// The number of events that the kernel could not queue for listeners on the host.
fn dropped(site: &Site) -> Result<u64> {
    let sum = site.host.sh("awk 'NR > 1 { sum += $9 } END { print sum }' /proc/net/netlink")?;
    sum.trim().parse().context("/proc/net/netlink")
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), ROLES[self.guest].name)
    }
}
