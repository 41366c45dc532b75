//! Rules about other machines on the LAN.

use std::net::IpAddr;

use super::case::Case;
use super::verdict::Why;
use crate::config::Probe;
use crate::model::snapshot::{Neighbour, NeighbourState};
use crate::model::{LinkIndex, Mac};
use crate::reconcile::facts::Facts;

/// The parent's neighbour table knows another machine with that address.
pub(super) fn held_on_lan(case: &Case<'_>) -> Option<Why> {
    let (ip, link) = (case.address, &case.parent.name);
    let entry = case.facts.snapshot.neighbours.get(&(ip, case.parent.index))?;
    // An entry that we set by hand on a parent is a leftover, and proves nothing.
    let leftover = entry.ours && entry.state == NeighbourState::Permanent;
    if entry.state == NeighbourState::Disputed {
        let message = format!("another machine held {ip} on the LAN of {link}; asking whether it still does");
        return Some(Why::of(message));
    }
    // A parent never hears its own children, so a machine that has answered a question of ours is another
    // one, whatever its MAC. The kernel's other entries may be older than the claimant's arrival here.
    let itself = |holder: &Mac| !entry.ours && case.claimant.known_as.contains(holder);
    let holder = entry.mac.filter(|holder| !leftover && !itself(holder))?;
    if case.claimant.reached_at.contains(&holder) {
        return Some(Why::of(format!(
            "a machine on the LAN of {link} that has {ip} also has this guest's MAC, {holder}; two machines must share \
             neither"
        )));
    }
    match entry.state {
        NeighbourState::Unresolved | NeighbourState::Disputed | NeighbourState::Failed => None,
        NeighbourState::Permanent | NeighbourState::Reachable => Some(Why::of(format!(
            "{holder} holds {ip} on the LAN of {link}; two machines must not share an address"
        ))),
        NeighbourState::Stale | NeighbourState::Asking => {
            Some(Why::of(format!("{holder} held {ip} on the LAN of {link}; asking whether it still does")))
        }
    }
}

/// The question failed, and its answer may be the only way to tell a guest from a machine of the LAN.
pub(super) fn cannot_be_asked(case: &Case<'_>) -> Option<Why> {
    let why = case.facts.trust.unasked.get(&case.address)?;
    let (ip, link) = (case.address, &case.parent.name);
    Some(Why::of(format!("the LAN of {link} must be asked first who has {ip}, and cannot be: {why}")))
}

/// Its route waits until nobody on the LAN has answered, unless it exists already.
pub(super) fn is_asked_first(case: &Case<'_>) -> Option<Why> {
    let (ip, link, distrusted) = (case.address, &case.parent.name, case.claimant.distrusted);
    let wanted = match case.facts.config.policy.probe {
        Probe::Strict => true,
        Probe::Optimistic => distrusted,
        Probe::Off => false,
    };
    let entry = || case.facts.snapshot.neighbours.get(&(ip, case.parent.index));
    if !wanted || entry().is_some_and(Neighbour::is_nobodys) || case.is_held() {
        return None;
    }
    let why = match distrusted {
        true => "an address of this NIC turned out to be another machine's",
        false => "policy.probe is \"strict\"",
    };
    Some(Why::of(format!("asking the LAN of {link} first who has {ip}: {why}")))
}

/// Whether a machine of the LAN answers for an address just now.
pub(in crate::reconcile) fn is_answered(facts: &Facts<'_>, parent: LinkIndex, ip: IpAddr) -> bool {
    let entry = facts.snapshot.neighbours.get(&(ip, parent));
    entry.is_some_and(|entry| entry.state == NeighbourState::Reachable)
}
