//! Decides anew only what a change of some addresses concerns, so that its cost does not grow with the number of
//! guests.
//!
//! A verdict stands on the host's facts, its own child, and the neighbour entries and routes of its own address; who holds an
//! address, on the claims to it. So a guest's new address, an entry of the neighbour table and the echo of our own
//! route dirty no more than a few addresses. The result is the same as if all had been decided anew: a law
//! (`tests/laws`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::desire::rules;
use super::desired::Desired;
use super::ground::Ground;
use super::holders::settle;
use super::leftovers;
use super::suspects::Suspect;
use super::tenure::Tenure;
use crate::config::Config;
use crate::model::neighbours::solicited_node;
use crate::model::snapshot::ChildKey;
use crate::model::{Changes, LinkIndex, Snapshot};

/// Decides on what has changed since `desired` was decided, and returns the addresses that have to be compared
/// with the kernel again ([`super::diff_at()`]). `None` if it takes a full decision: `desired` must then be
/// decided anew before it is used.
pub fn amend(
    desired: &mut Desired,
    config: &Config,
    snapshot: &Snapshot,
    tenure: &mut Tenure,
    changes: &Changes,
    now: Instant,
) -> Option<BTreeSet<IpAddr>> {
    if changes.all {
        return None;
    }
    // They stand until everything is decided anew.
    let facts = std::mem::take(&mut desired.facts);
    let ground = Ground { snapshot, config, facts: &facts };
    let addresses = amend_upon(&ground, desired, tenure, changes, now);
    desired.facts = facts;
    addresses
}

fn amend_upon(
    ground: &Ground<'_>,
    desired: &mut Desired,
    tenure: &mut Tenure,
    changes: &Changes,
    now: Instant,
) -> Option<BTreeSet<IpAddr>> {
    let mut addresses = changes.addresses.clone();
    // Over IPv6 a question has an entry of its own.
    addresses.extend(groups(ground.snapshot, &changes.addresses));
    let claimants = changes.addresses.iter().flat_map(|address| desired.claims.claimants(*address));
    let led = changes.destinations.iter().flat_map(|range| desired.claims.claimants_in(*range));
    let children = claimants.chain(led).chain(&changes.children);
    let mains: BTreeSet<ChildKey> = children.map(|child| desired.parties.main(*child)).collect();
    for main in mains {
        addresses.extend(desired.claims.weigh(ground, &desired.parties, main));
        if desired.claims.is_caught(ground, &desired.parties, main)
            && !ground.facts.distrusted.contains(&Suspect::of(&desired.parties, main))
        {
            return None;
        }
    }
    // What no server vouches for may keep only what it had without a break.
    if ground.facts.unclaimed.iter().any(|holding| addresses.contains(&holding.address)) {
        return None;
    }
    // A configured range of one address makes way for a guest, and any of them for a route that stands in its place.
    let mut ranges = ground.config.parents.values().flat_map(|parent| &parent.routes);
    if ranges.any(|range| addresses.contains(&range.addr()) || changes.destinations.contains(range)) {
        return None;
    }
    let mut mains = BTreeSet::new();
    for address in &addresses {
        let before = settle(ground, desired, tenure, *address, now);
        let holder = desired.holders.get(address);
        // A shim may stand for what no server vouches for alone.
        let both = [before.as_ref(), holder];
        let unclaimed = both.into_iter().flatten().any(|holder| holder.nic.is_none());
        if unclaimed && before.as_ref() != holder {
            return None;
        }
        mains.extend(both.into_iter().flatten().map(|holder| desired.parties.main(holder.child)));
    }
    tenure.tidy(now);
    addresses.extend(leftovers::find(ground, desired, tenure, &addresses.clone(), mains));
    (rules(ground, &desired.shims, &desired.holders) == desired.rules).then_some(addresses)
}

/// The groups with an entry of ours that questions about these addresses go to.
fn groups(snapshot: &Snapshot, addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let stands = |group: &IpAddr| {
        let mut entries = snapshot.neighbours.range((*group, LinkIndex::NONE)..=(*group, LinkIndex::LAST));
        entries.any(|(_, entry)| entry.ours)
    };
    addresses.iter().filter_map(|address| solicited_node(*address)).filter(stands).collect()
}
