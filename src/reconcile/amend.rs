//! Decides anew only what a change of some addresses concerns, so that its cost does not grow with the number of
//! guests.
//!
//! A verdict stands on the host's facts, its own child, and the neighbour entries of its own address; who holds an
//! address, on the claims to it. So a guest's new address, an entry of the neighbour table and the echo of our own
//! route dirty no more than a few addresses. The result is the same as if all had been decided anew: a law
//! (`tests/laws`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::desire::rules;
use super::desired::Desired;
use super::ground::Ground;
use crate::config::Config;
use crate::model::neighbours::solicited_node;
use crate::model::snapshot::ChildKey;
use crate::model::{Changes, Snapshot};

/// Decides on what has changed since `desired` was decided, and returns the addresses that have to be compared
/// with the kernel again ([`super::diff_at()`]). `None` if it takes a full decision: `desired` must then be
/// decided anew before it is used.
pub fn amend(
    desired: &mut Desired,
    config: &Config,
    snapshot: &Snapshot,
    changes: &Changes,
) -> Option<BTreeSet<IpAddr>> {
    if changes.all {
        return None;
    }
    let ground = Ground { snapshot, config, facts: &desired.facts };
    let mut addresses = changes.addresses.clone();
    // Over IPv6 a question has an entry of its own.
    addresses.extend(groups(snapshot, &changes.addresses));
    let claimants = changes.addresses.iter().flat_map(|address| desired.claims.claimants(*address));
    let children = claimants.chain(&changes.children);
    let mains: BTreeSet<ChildKey> = children.map(|child| desired.parties.main(*child)).collect();
    for main in mains {
        addresses.extend(desired.claims.weigh(&ground, &desired.parties, main));
        if desired.claims.is_caught(&ground, &desired.parties, main)
            && !ground.facts.distrusted.contains(&main)
        {
            return None;
        }
    }
    // What no server vouches for may keep only what it had without a break.
    if desired.facts.unclaimed.iter().any(|(.., address)| addresses.contains(address)) {
        return None;
    }
    // A configured range of one address makes way for a guest.
    if config
        .parents
        .values()
        .flat_map(|parent| &parent.routes)
        .any(|range| addresses.contains(&range.addr()))
    {
        return None;
    }
    for address in &addresses {
        let holder = desired.claims.holder(&ground, &desired.parties, *address);
        let before = desired.holders.get(address);
        // A shim may stand for what no server vouches for alone.
        let unclaimed = [before, holder.as_ref()].into_iter().flatten().any(|holder| holder.nic.is_none());
        if unclaimed && before != holder.as_ref() {
            return None;
        }
        match holder {
            Some(holder) => drop(desired.holders.insert(*address, holder)),
            None => drop(desired.holders.remove(address)),
        }
    }
    (rules(&ground, &desired.shims, &desired.holders) == desired.rules).then_some(addresses)
}

/// The groups with an entry of ours that questions about these addresses go to.
fn groups(snapshot: &Snapshot, addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let stands = |group: &IpAddr| {
        let mut entries = snapshot.neighbours.range((*group, 0)..=(*group, u32::MAX));
        entries.any(|(_, entry)| entry.ours)
    };
    addresses.iter().filter_map(|address| solicited_node(*address)).filter(stands).collect()
}
