//! A quiet moment: the time until everything is as it should be, or the sentences that say what is not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::intent::Intent;
use crate::invariant::{foreign, ours, reach, status};
use crate::model::{Expected, Memory, News, expect};
use crate::site::{ROLES, Site};
use crate::truth::Truth;

/// After what the daemon was told of. It looks at everything each 24 to 36 s, and once it has looked the world may be
/// right without an event having been heard; nobody can say here when it last did. So in one burst of three or so no
/// look comes to the help of what was not heard within this time, and it shows. It shows for sure where the daemon is
/// so young that it cannot have looked again ([`FIRST_LOOK`]): the account says how often that was so.
const TOLD: Duration = Duration::from_secs(20);

/// After what nobody tells of: above one look at everything, and above the longest pause before a server is connected
/// to again.
const UNTOLD: Duration = Duration::from_secs(60);

/// A daemon reads everything when it is started, and looks again after so long at the earliest.
const FIRST_LOOK: Duration = Duration::from_secs(24);

/// How long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Converged {
    /// The daemon was told of all that had happened.
    pub(crate) told: bool,
    /// It had not looked again since its start: what was mended, events mended.
    pub(crate) by_events: bool,
    /// Until the kernel's state and the status were right.
    pub(crate) state: Duration,
    /// Until packets arrived, too.
    pub(crate) reach: Duration,
}

/// Waits until everything is as it should be, and remembers what there is to remember. The inner error is the
/// list of what is not so after the time that it may take.
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

/// Guests know their host by the shim's MAC: a new one cuts them off for as long as they remember the old one.
fn check_mac(truth: &Truth, memory: &Memory, news: &News) -> Option<String> {
    let mac = truth.shim().map(|shim| shim.mac.clone()).filter(|mac| !memory.expects(mac, news))?;
    let (was, drawn) = (memory.shim_mac.as_deref().unwrap_or("unknown"), &memory.drawn_macs);
    Some(format!("the shim's MAC is {mac}, it was {was}, and those of new ones are {drawn:?}"))
}

/// A shim that was made anew on a renamed parent, or whose MAC somebody changed, has another MAC, and where a guest
/// pretended to be the host the others have learnt a wrong one. What they have learnt ages out within a minute; that
/// long we do not wait.
fn forget_old_macs(site: &Site, truth: &Truth, memory: &mut Memory, news: &News) -> Result<()> {
    let mac = truth.shim().map(|shim| shim.mac.clone());
    if mac.is_none() || (mac == memory.shim_mac && !memory.impostor && !news.impostor) {
        return Ok(());
    }
    for guest in (0..ROLES.len()).filter(|guest| truth.guests.contains_key(guest)) {
        // One that is just ending has nothing to forget.
        let _ = site.in_guest(guest, "ip neigh flush dev eth0; ip -6 neigh flush dev eth0");
    }
    for machine in &site.others {
        machine.sh("ip neigh flush all; ip -6 neigh flush all")?;
    }
    memory.shim_mac = mac;
    Ok(())
}
