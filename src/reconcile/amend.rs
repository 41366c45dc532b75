//! Decides again only the addresses that a change concerns, so that its cost does not grow with the number of
//! guests.
//!
//! A verdict depends on the host's facts, its own child, and the neighbour entries and routes of its own
//! address. The holder of an address depends on the claims to it. So a guest's new address, an entry of the
//! neighbour table and the echo of our own route make no more than a few addresses stale. The result is the
//! same as that of a full decision: a law (`tests/laws`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::desired::Desired;
use super::facts::{Facts, Trust};
use super::hold::settle;
use super::hold::tenure::Tenure;
use super::inputs::Inputs;
use super::shims::rules;
use crate::model::neighbours::solicited_node;
use crate::model::snapshot::ChildKey;
use crate::model::{Changes, LinkIndex, Snapshot};

/// Decides on the changes since `desired` was decided, and returns the addresses that have to be compared
/// with the kernel again (`diff_at`). `None` if that takes a full decision: `desired` must then be
/// decided again before it is used.
pub(super) fn amend(
    desired: &mut Desired,
    inputs: &Inputs<'_>,
    trust: &Trust,
    tenure: &mut Tenure,
    changes: &Changes,
) -> Option<BTreeSet<IpAddr>> {
    if changes.all {
        return None;
    }
    // They stay until everything is decided again.
    let host = std::mem::take(&mut desired.host);
    let facts = Facts { snapshot: inputs.snapshot, config: inputs.config, host: &host, trust };
    let addresses = amend_upon(&facts, desired, tenure, changes, inputs.now);
    desired.host = host;
    addresses
}

fn amend_upon(
    facts: &Facts<'_>,
    desired: &mut Desired,
    tenure: &mut Tenure,
    changes: &Changes,
    now: Instant,
) -> Option<BTreeSet<IpAddr>> {
    let mut addresses = changes.addresses.clone();
    // Over IPv6 a question has an entry of its own.
    addresses.extend(groups(facts.snapshot, &changes.addresses));
    let claimed = changes.addresses.iter().flat_map(|address| desired.held.claims.claimed_by(*address));
    let led = changes.destinations.iter().flat_map(|range| desired.held.claims.claimed_in(*range));
    let children = claimed.chain(led).chain(&changes.children);
    let nic_children: BTreeSet<ChildKey> =
        children.map(|child| desired.held.claimants.nic_child(*child)).collect();
    for nic_child in nic_children {
        addresses.extend(desired.held.claims.weigh(facts, &desired.held.claimants, nic_child));
        if desired.held.claims.is_caught(facts, &desired.held.claimants, nic_child)
            && !facts.trust.distrusted.contains(&desired.held.claimants.suspect(nic_child))
        {
            return None;
        }
    }
    // An unclaimed child keeps only the addresses that it has had without a break.
    if facts.trust.unclaimed.iter().any(|it| addresses.contains(&it.address)) {
        return None;
    }
    // A configured range of one address makes way for a guest, and any range makes way for a foreign route in
    // its place.
    let mut ranges = facts.config.parents.values().flat_map(|parent| &parent.routes);
    if ranges.any(|range| addresses.contains(&range.addr()) || changes.destinations.contains(range)) {
        return None;
    }
    let mut nic_children = BTreeSet::new();
    for address in &addresses {
        let before = settle(facts, &mut desired.held, tenure, *address, now);
        let holder = desired.held.holders.get(address);
        // A shim may exist for unclaimed children alone.
        let both = [before.as_ref(), holder];
        let unclaimed = both.into_iter().flatten().any(|holder| holder.nic.is_none());
        if unclaimed && before.as_ref() != holder {
            return None;
        }
        nic_children
            .extend(both.into_iter().flatten().map(|holder| desired.held.claimants.nic_child(holder.child)));
    }
    tenure.tidy(now);
    addresses.extend(desired.leftovers.find(facts, &desired.held, tenure, &addresses, nic_children));
    (rules(facts, &desired.shims, &desired.held.holders) == desired.rules).then_some(addresses)
}

/// The groups with an entry of ours that questions about these addresses go to.
fn groups(snapshot: &Snapshot, addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let stands = |group: &IpAddr| {
        let mut entries = snapshot.neighbours.range((*group, LinkIndex::NONE)..=(*group, LinkIndex::LAST));
        entries.any(|(_, entry)| entry.ours)
    };
    addresses.iter().filter_map(|address| solicited_node(*address)).filter(stands).collect()
}
