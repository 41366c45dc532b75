//! A quiet moment: the time until everything is as it should be, or the sentences about what is not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::intent::Intent;
use crate::invariant::{foreign, ours, reach, status};
use crate::model::{Expected, Memory, News, expect};
use crate::site::{ROLES, Site};
use crate::truth::Truth;

/// After events that the daemon was told of. It looks at everything every 24 to 36 s, and such a look may
/// repair the state even if no event was heard. Nobody can say here when it last looked. So in about one
/// burst of three no look comes to the aid of a missed event within this time, and the fault shows. It shows
/// for certain where the daemon is so young that it cannot have looked again ([`FIRST_LOOK`]). The account
/// says how often that was so.
const TOLD: Duration = Duration::from_secs(20);

/// After events that nobody reports. Longer than the interval of looks at everything, and longer than the
/// longest pause before a server is connected to again.
const UNTOLD: Duration = Duration::from_secs(60);

/// A daemon reads everything when it is started. This is the earliest time at which it looks again.
const FIRST_LOOK: Duration = Duration::from_secs(24);

/// The time that it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Converged {
    /// The daemon was told of all events.
    pub(crate) told: bool,
    /// It had not looked again since its start, so every repair was due to an event.
    pub(crate) by_events: bool,
    /// Until the kernel's state and the status were right.
    pub(crate) state: Duration,
    /// Until packets arrived, too.
    pub(crate) reach: Duration,
}

/// Waits until everything is as it should be, and keeps the observations. The inner error lists what is still
/// wrong when the time is over.
pub(crate) fn wait(
    site: &Site,
    intent: &Intent,
    before: &foreign::Before,
    memory: &mut Memory,
    news: &News,
) -> Result<Result<Converged, Vec<String>>> {
    let start = Instant::now();
    let limit = if news.told { TOLD } else { UNTOLD };
    let mut right_since: Option<Duration> = None;
    loop {
        if site.under_test.has_died() {
            bail!("the daemon ended by itself");
        }
        let (truth, expected, mut found) = look(site, intent, before, memory, news)?;
        if found.is_empty() {
            let state = *right_since.get_or_insert_with(|| start.elapsed());
            forget_old_macs(site, &truth, memory, news)?;
            found = reach::check(site, &truth, intent, &expected)?;
            if found.is_empty() {
                Expected::remember(&truth, intent, memory, news);
                let by_events = news.told && site.under_test.age() < FIRST_LOOK;
                return Ok(Ok(Converged { told: news.told, by_events, state, reach: start.elapsed() }));
            }
        } else {
            right_since = None;
        }
        if start.elapsed() > limit {
            return Ok(Err(found));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn look(
    site: &Site,
    intent: &Intent,
    before: &foreign::Before,
    memory: &mut Memory,
    news: &News,
) -> Result<(Truth, Expected, Vec<String>)> {
    let start = Instant::now();
    loop {
        match Truth::read(site, intent) {
            Ok(truth) => {
                memory.see_contests(&truth, news);
                let expected = expect(&truth, intent, memory, news);
                let mut found = ours::check(&truth, intent, &expected);
                found.extend(foreign::check(&truth, intent, before));
                found.extend(status::check(&truth, intent, memory, &expected, site.under_test.version()));
                found.extend(status::check_log(&site.under_test.log()));
                found.extend(check_mac(&truth, memory, news));
                return Ok((truth, expected, found));
            }
            // A daemon that has just been started does not answer yet.
            Err(error) if start.elapsed() > UNTOLD => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Guests know their host by the shim's MAC. A new MAC cuts them off for as long as they remember the old
/// one.
fn check_mac(truth: &Truth, memory: &Memory, news: &News) -> Option<String> {
    let mac = truth.shim().map(|shim| shim.mac.clone()).filter(|mac| !memory.expects(mac, news))?;
    let (was, drawn) = (memory.shim_mac.as_deref().unwrap_or("unknown"), &memory.drawn_macs);
    Some(format!("the shim's MAC is {mac}, it was {was}, and those of new ones are {drawn:?}"))
}

/// A shim has another MAC if it was made again on a renamed parent, or if somebody changed the MAC. Where a
/// guest pretended to be the host, the others have learnt a wrong one. Those entries age out within a minute,
/// and we do not wait that long.
fn forget_old_macs(site: &Site, truth: &Truth, memory: &mut Memory, news: &News) -> Result<()> {
    let mac = truth.shim().map(|shim| shim.mac.clone());
    if mac.is_none() || (mac == memory.shim_mac && !memory.impostor && !news.impostor) {
        return Ok(());
    }
    for guest in (0..ROLES.len()).filter(|guest| truth.guests.contains_key(guest)) {
        // A guest that is just ending has nothing to forget.
        let _ = site.in_guest(guest, "ip neigh flush dev eth0; ip -6 neigh flush dev eth0");
    }
    for machine in &site.others {
        machine.sh("ip neigh flush all; ip -6 neigh flush all")?;
    }
    memory.shim_mac = mac;
    Ok(())
}
