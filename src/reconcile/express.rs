//! The fast lane: what a change of a guest's addresses asks for beyond doubt, before everything is decided anew.
//!
//! A NIC that is served gets a new address: the verdict on it needs the facts of the last decision and this one
//! child, and if nobody else has to do with the address, its neighbour entry and its route can go in at once. All
//! other cases are left to [`super::desire()`], which is asked right after, as always. So this saves time and decides
//! nothing of its own: each of its steps is one of the plan that the full decision makes (a law, `tests/laws.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::desire::verdicts;
use super::desired::{Decision, Desired, Shim};
use super::diff::metric;
use super::ground::Ground;
use crate::config::Config;
use crate::model::inventory::Mode;
use crate::model::names::{TABLE, TABLE_MAIN};
use crate::model::plan::When;
use crate::model::snapshot::{Child, ChildKey, RouteKey};
use crate::model::{NicKey, Op, Plan, Snapshot, Step};

/// The steps for `changed` that can be taken at once. `desired` is the last decision, and nothing of the host but
/// neighbour entries may have changed since.
pub fn express(
    config: &Config,
    snapshot: &Snapshot,
    desired: &Desired,
    changed: &BTreeSet<ChildKey>,
) -> Plan {
    let ground = Ground { snapshot, config, facts: &desired.facts };
    let mut claims: BTreeMap<IpAddr, Vec<Step>> = BTreeMap::new();
    for key in changed {
        if let (Some(nic), Some(child)) = (desired.served.get(key), snapshot.children.get(key)) {
            claim(&ground, desired, nic, child, &mut claims);
        }
    }
    // One neighbour entry and one route each: where two children claim an address, it takes more than this.
    claims.into_values().filter(|steps| steps.len() == 2).flatten().collect()
}

/// Adds the steps for the addresses of a child that are new and admitted.
fn claim(
    ground: &Ground<'_>,
    desired: &Desired,
    nic: &NicKey,
    child: &Child,
    claims: &mut BTreeMap<IpAddr, Vec<Step>>,
) {
    let Some(Decision::Served { parent, mac, .. }) = desired.decisions.get(nic) else { return };
    let same = child.parent == *parent && child.mac == *mac && child.mode == Mode::Bridge;
    let Some(shim) = desired.shims.get(parent).filter(|shim| same && is_ready(ground, desired, shim)) else {
        return;
    };
    for (address, verdict) in verdicts(ground, child) {
        let Some(source) = verdict.source().filter(|_| is_new(ground, desired, address)) else { continue };
        let (at, destination) = (shim.shim.clone(), IpNet::from(address));
        let table = shim.tables[usize::from(address.is_ipv6())];
        let now = |op| Step { op, when: When::Now, why: format!("{nic} has it") };
        claims.entry(address).or_default().extend([
            now(Op::SetNeighbour { shim: at.clone(), address, mac: *mac }),
            now(Op::SetRoute { shim: at, destination, source: Some(source), table, replace: false }),
        ]);
    }
}

/// The shim stands and is up, and so does the rule that its table needs.
fn is_ready(ground: &Ground<'_>, desired: &Desired, shim: &Shim) -> bool {
    let link = shim.shim.index.and_then(|index| ground.snapshot.links.get(&index));
    let rules = [false, true]
        .into_iter()
        .all(|ipv6| shim.tables[usize::from(ipv6)] != TABLE || desired.rules.contains_key(&ipv6));
    shim.obstacle.is_none() && rules && link.is_some_and(|link| link.up)
}

/// Nobody has to do with the address yet: no NIC, no route or neighbour entry of ours, on any shim.
fn is_new(ground: &Ground<'_>, desired: &Desired, address: IpAddr) -> bool {
    let destination = IpNet::from(address);
    let claimed = desired.shims.values().any(|shim| {
        let ranges = shim.ranges.contains_key(&destination);
        shim.hosts.contains_key(&address) || ranges
    });
    let metric = metric(address.is_ipv6());
    let tables = [TABLE_MAIN, TABLE];
    let routed = tables.into_iter().any(|table| {
        let key = |link| RouteKey { table, destination, metric, link };
        ground.snapshot.routes.range(key(0)..=key(u32::MAX)).next().is_some()
    });
    let held = ground.shims().any(|(_, shim)| {
        let entry = ground.snapshot.neighbours.get(&(shim.index, address));
        entry.is_some_and(|entry| entry.ours)
    });
    !claimed && !routed && !held
}
