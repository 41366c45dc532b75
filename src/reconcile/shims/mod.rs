//! The shims that should exist, and their properties.

mod answers;
mod filter;
mod identity;
mod outage;
mod rules;
mod shim;
mod sysctls;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use self::answers::answers;
pub(super) use self::rules::rules;
pub use self::shim::DesiredShim;
pub(super) use self::wanted::Demand;
use super::admit::route_in_the_way;
use super::facts::Facts;
use super::facts::obstacle::{Obstacle, obstacle};
use super::hold::Held;
use crate::model::inventory::Mode;
use crate::model::snapshot::Link;
use crate::model::status::Problem;
use crate::model::{Family, LinkIndex, LinkRef, Mac, PerFamily};

/// Makes the shims that are needed, and reports their obstacles. The kernel has refused `refused_macs`.
pub(super) fn shims(
    facts: &Facts<'_>,
    demand: &Demand<'_>,
    refused_macs: &BTreeSet<Mac>,
) -> (BTreeMap<LinkIndex, DesiredShim>, Vec<Problem>) {
    let mut shims: BTreeMap<LinkIndex, DesiredShim> = BTreeMap::new();
    let (wanted, mut problems) = demand.wanted_parents(facts);
    for (parent, why) in wanted {
        if let Some(link) = facts.snapshot.links.get(&parent) {
            let obstacle = obstacle(facts, link);
            shims.insert(parent, new_shim(facts, link, why, obstacle, refused_macs));
        }
    }
    // A destination leads through one shim. A guest's known place comes before a range of one address.
    let standing: BTreeSet<LinkIndex> =
        shims.iter().filter(|(_, shim)| shim.obstacle.is_none()).map(|(parent, _)| *parent).collect();
    let is_host = |range: &IpNet| {
        let holder = demand.held.holders.get(&range.addr());
        let holder = holder.filter(|_| *range == IpNet::from(range.addr()));
        holder.is_some_and(|holder| standing.contains(&holder.parent))
    };
    for shim in shims.values_mut() {
        shim.ranges.retain(|range, _| !is_host(range));
        problems.extend(shim.ranges.keys().filter_map(|range| route_in_the_way(facts, *range)));
        shim.ranges.retain(|range, _| route_in_the_way(facts, *range).is_none());
        if let Some(obstacle) = &shim.obstacle {
            problems.push(Problem::new(
                obstacle.code,
                shim.parent.clone(),
                obstacle.message.clone(),
                obstacle.hint.clone(),
            ));
        }
    }
    let used = standing.iter().filter_map(|parent| facts.snapshot.links.get(parent));
    problems.extend(used.filter_map(|parent| outage::problem(demand, parent)));
    for (parent, shim) in &mut shims {
        shim.macs = shim.ranges.is_empty().then(|| macs(facts, demand.held, *parent));
        shim.answers = answers(facts, *parent, shim);
    }
    problems.extend(sysctls::problems(facts, shims.values()));
    problems.extend(filter::problems(&facts.snapshot.filter, &shims));
    (shims, problems)
}

/// The MACs that the filter of a parent's shim passes: those of the NICs that are served and of their
/// siblings. An unclaimed child passes if it holds an address or passes already.
fn macs(facts: &Facts<'_>, held: &Held, parent: LinkIndex) -> BTreeSet<Mac> {
    let served = held.claimants.served.keys().filter_map(|key| facts.snapshot.children.get(key));
    let served = served.filter(|child| child.parent == parent && child.mode == Mode::Bridge);
    let served = served.map(|child| child.mac);
    let standing = facts.shim(parent).and_then(|shim| facts.snapshot.filter.shims.get(&shim.index));
    let passing = standing.and_then(|filter| filter.macs.as_ref());
    let unclaimed = held.claimants.unclaimed.iter().filter_map(|key| facts.snapshot.children.get(key));
    let unclaimed = unclaimed.filter(|child| child.parent == parent).map(|child| child.mac);
    let passing = unclaimed.filter(|mac| passing.is_some_and(|passing| passing.contains(mac)));
    let holding = held.holders.values().filter(|holder| holder.parent == parent).map(|holder| holder.mac);
    served.chain(passing).chain(holding).collect()
}

fn new_shim(
    facts: &Facts<'_>,
    parent: &Link,
    why: String,
    obstacle: Option<Obstacle>,
    refused_macs: &BTreeSet<Mac>,
) -> DesiredShim {
    let standing = facts.shim(parent.index);
    let name = identity::name(facts, parent);
    let mac = standing
        .and_then(|link| link.made_with.or(link.mac))
        .unwrap_or_else(|| identity::mac(facts, parent, refused_macs));
    let proxies = facts.host_addresses(parent.index).filter_map(|address| match address {
        IpAddr::V6(address) if facts.ipv6() => Some(address),
        _ => None,
    });
    let ranges = facts
        .config
        .parents
        .get(parent.name.as_str())
        .map(|parent| parent.routes.as_slice())
        .unwrap_or_default();
    let ranges = ranges.iter().filter(|range| facts.ipv6() || Family::of(**range) == Family::V4);
    DesiredShim {
        link: LinkRef { name, index: standing.map(|link| link.index) },
        parent: parent.name.clone(),
        mac,
        mtu: parent.mtu,
        why,
        obstacle,
        settings: sysctls::settings(facts, parent, ranges.clone().next().is_some()),
        addresses: sysctls::own_addresses(facts, parent),
        proxies: proxies.collect(),
        ranges: ranges.map(|range| (*range, facts.source(parent, range.addr()))).collect(),
        tables: PerFamily { v4: facts.table(Family::V4), v6: facts.table(Family::V6) },
        macs: None,
        answers: BTreeSet::new(),
    }
}
