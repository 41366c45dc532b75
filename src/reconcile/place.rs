//! Which shims should stand, and what each should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::answers::answers;
use super::desired::{Decision, Desired, DesiredShim};
use super::ground::Ground;
use super::select::left_out;
use super::setting;
use super::shim::{self, Obstacle};
use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, NicParent};
use crate::model::snapshot::Link;
use crate::model::status::Problem;
use crate::model::{Code, Family, GuestKey, LinkIndex, LinkRef, Mac, PerFamily};

/// Makes the shims that the decisions ask for.
pub(super) fn place_shims(
    ground: &Ground<'_>,
    inventory: &Inventory,
    desired: &mut Desired,
    refused_macs: &BTreeSet<Mac>,
) {
    let mut shims: BTreeMap<LinkIndex, DesiredShim> = BTreeMap::new();
    let wanted = wanted_parents(ground, inventory, desired);
    for (parent, why) in wanted {
        if let Some(link) = ground.snapshot.links.get(&parent) {
            let obstacle = shim::obstacle(ground, link);
            shims.insert(parent, new_shim(ground, link, why, obstacle, refused_macs));
        }
    }
    // A destination leads through one shim. Where a guest is known to be goes before a range of one address.
    let standing: BTreeSet<LinkIndex> =
        shims.iter().filter(|(_, shim)| shim.obstacle.is_none()).map(|(parent, _)| *parent).collect();
    let Desired { holders, problems, .. } = desired;
    let is_host = |range: &IpNet| {
        let holder = holders.get(&range.addr()).filter(|_| *range == IpNet::from(range.addr()));
        holder.is_some_and(|holder| standing.contains(&holder.parent))
    };
    for shim in shims.values_mut() {
        shim.ranges.retain(|range, _| !is_host(range));
        problems.extend(shim.ranges.keys().filter_map(|range| ground.route_in_the_way(*range)));
        shim.ranges.retain(|range, _| ground.route_in_the_way(*range).is_none());
        if let Some(obstacle) = &shim.obstacle {
            problems.push(Problem::new(
                obstacle.code,
                shim.parent.clone(),
                obstacle.message.clone(),
                obstacle.hint.clone(),
            ));
        }
    }
    for (parent, shim) in &mut shims {
        shim.macs = shim.ranges.is_empty().then(|| macs(ground, desired, *parent));
        shim.answers = answers(ground, *parent, shim);
    }
    desired.problems.extend(setting::problems(ground, shims.values()));
    desired.shims = shims;
}

/// The MACs that the filter of a parent's shim lets pass: those of the NICs that are served and of their kin, and of what no server
/// vouches for those that hold an address or pass already.
fn macs(ground: &Ground<'_>, desired: &Desired, parent: LinkIndex) -> BTreeSet<Mac> {
    let served = desired.parties.served.keys().filter_map(|key| ground.snapshot.children.get(key));
    let served = served.filter(|child| child.parent == parent && child.mode == Mode::Bridge);
    let served = served.map(|child| child.mac);
    let standing = ground.shim(parent).and_then(|shim| ground.snapshot.filter.shims.get(&shim.index));
    let passing = standing.and_then(|filter| filter.macs.as_ref());
    let orphans = desired.parties.orphans.iter().filter_map(|key| ground.snapshot.children.get(key));
    let orphans = orphans.filter(|child| child.parent == parent).map(|child| child.mac);
    let passing = orphans.filter(|mac| passing.is_some_and(|passing| passing.contains(mac)));
    let holding = desired.holders.values().filter(|holder| holder.parent == parent).map(|holder| holder.mac);
    served.chain(passing).chain(holding).collect()
}

/// The parents on which a shim should stand, each with the reason.
fn wanted_parents(
    ground: &Ground<'_>,
    inventory: &Inventory,
    desired: &mut Desired,
) -> BTreeMap<LinkIndex, String> {
    let mut wanted: BTreeMap<LinkIndex, String> = BTreeMap::new();
    for (key, decision) in &desired.decisions {
        if let Decision::Served { parent, .. } = decision {
            wanted.entry(*parent).or_insert_with(|| format!("{key} is on it"));
        }
    }
    for (address, holder) in desired.holders.iter().filter(|(_, holder)| holder.nic.is_none()) {
        wanted.entry(holder.parent).or_insert_with(|| format!("{} still has {address}", holder.mac));
    }
    if !desired.settled {
        for (parent, link) in ground.shims() {
            wanted
                .entry(parent)
                .or_insert_with(|| format!("{} stands, and a server is still to be read", link.name));
        }
    }
    let general_keep = ground.config.shim.keep;
    let not_kept: BTreeSet<LinkIndex> = (ground.config.parents.iter())
        .filter(|(_, parent)| parent.keep == Some(false))
        .filter_map(|(name, _)| Some(ground.resolve(name, None)?.index))
        .collect();
    let guests: BTreeMap<GuestKey, &Guest> = inventory.guests().filter(|_| general_keep).collect();
    for (key, guest) in guests {
        if left_out(&ground.config.select, guest).is_some() || guest.kind == GuestKind::VirtualMachine {
            continue;
        }
        for nic in guest.nics.iter().filter(|nic| nic.mode == Mode::Bridge) {
            let NicParent::Link { name, vlan } = &nic.parent else { continue };
            if let Some(link) = ground.resolve(name, *vlan).filter(|link| !not_kept.contains(&link.index)) {
                wanted.entry(link.index).or_insert_with(|| format!("[shim] keep, and {key} uses it"));
            }
        }
    }
    for (name, parent) in &ground.config.parents {
        match ground.resolve(name, None) {
            Some(link) if parent.keep.unwrap_or(general_keep) => {
                wanted.entry(link.index).or_insert_with(|| format!("[[parent]] {name} keep"));
            }
            Some(_) => {}
            None => desired.problems.push(Problem::new(
                Code::ParentAbsent,
                name.clone(),
                format!("the configuration has [[parent]] name = {name:?}, and there is no such interface"),
                "correct the name, or wait until the interface appears: it is then taken up at once",
            )),
        }
    }
    wanted
}

fn new_shim(
    ground: &Ground<'_>,
    parent: &Link,
    why: String,
    obstacle: Option<Obstacle>,
    refused_macs: &BTreeSet<Mac>,
) -> DesiredShim {
    let standing = ground.shim(parent.index);
    let name = shim::name(ground, parent);
    let mac = standing
        .and_then(|link| link.made_with.or(link.mac))
        .unwrap_or_else(|| shim::mac(ground, parent, refused_macs));
    let proxies = ground.host_addresses(parent.index).filter_map(|address| match address {
        IpAddr::V6(address) if ground.ipv6() => Some(address),
        _ => None,
    });
    let ranges =
        ground.config.parents.get(&parent.name).map(|parent| parent.routes.as_slice()).unwrap_or_default();
    let ranges = ranges.iter().filter(|range| ground.ipv6() || Family::of(**range) == Family::V4);
    DesiredShim {
        shim: LinkRef { name, index: standing.map(|link| link.index) },
        parent: parent.name.clone(),
        mac,
        mtu: parent.mtu,
        why,
        obstacle,
        settings: setting::settings(ground, parent, ranges.clone().next().is_some()),
        addresses: setting::own_addresses(ground, parent),
        proxies: proxies.collect(),
        ranges: ranges.map(|range| (*range, ground.source(parent, range.addr()))).collect(),
        tables: PerFamily { v4: ground.table(Family::V4), v6: ground.table(Family::V6) },
        macs: None,
        answers: BTreeSet::new(),
    }
}
