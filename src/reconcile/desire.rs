//! Decides what should exist, each object with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::claims::{Claimants, Claims, ServedAs};
use super::desired::{Decision, Desired, Holder, Memory, DesiredShim};
use super::facts::{Facts, HostFacts, UnclaimedAddress};
use super::filter;
use super::holders::{adopt, settle};
use super::join::{Joins, doubts, homes, join};
use super::leftovers;
use super::overhear;
use super::place::place_shims;
use super::select::left_out;
use super::shim;
use super::siblings::{nics_of, reached_at};
use super::suspects::{Suspect, still_distrusted};
use super::tenure::Tenure;
use crate::config::Config;
use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, Nic, NicParent, OptOut, Power};
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::status::Problem;
use crate::model::{Family, LinkIndex, Mac, NicKey, Snapshot};

/// Decides. `memory` is what the last call left, updated to what the next one needs.
pub fn desire(
    config: &Config,
    inventory: &Inventory,
    snapshot: &Snapshot,
    memory: &mut Memory,
    now: Instant,
) -> Desired {
    let mut host = HostFacts::gather(config, inventory, snapshot, memory);
    let facts = Facts { snapshot, config, host: &host };
    memory.joins = join(&facts, inventory, &memory.joins, &memory.homes);
    memory.homes = homes(&facts, inventory, &memory.joins, &memory.homes);
    let doubts = doubts(&facts, inventory, &memory.joins);
    let mut desired = Desired { settled: inventory.settled(), doubts, ..Desired::default() };
    desired.problems.extend(overhear::problems(&facts, inventory, &memory.joins));
    for (key, guest) in inventory.guests() {
        if let OptOut::Invalid(value) = &guest.opt {
            desired.problems.push(Problem {
                code: "invalid-opt-out".to_owned(),
                object: key.to_string(),
                message: format!(
                    "user.macvlan-shim.enabled is \"{value}\", neither true nor false; the guest takes part"
                ),
                hint: "set it to true or false, or unset it".to_owned(),
            });
        }
        for nic in &guest.nics {
            let nic_key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            let decision = decision(&facts, guest, nic, memory.joins.get(&nic_key));
            desired.decisions.insert(nic_key, decision);
        }
    }
    desired.claimants = claimants(&facts, inventory, &memory.joins, &desired.decisions);
    memory.unclaimed = desired.claimants.still_unclaimed(&host, snapshot, &memory.unclaimed);
    host.unclaimed.clone_from(&memory.unclaimed);
    memory.distrusted = still_distrusted(&memory.distrusted, &desired.claimants, inventory, snapshot);
    host.distrusted.clone_from(&memory.distrusted);
    let facts = Facts { snapshot, config, host: &host };
    let nic_children =
        || snapshot.children.keys().copied().filter(|child| desired.claimants.nic_child(*child) == *child);
    let mut claims = Claims::default();
    nic_children().for_each(|nic_child| drop(claims.weigh(&facts, &desired.claimants, nic_child)));
    // Whom we catch is not trusted from this very moment, nor is what else its guest has.
    let suspect = |nic_child: ChildKey| Suspect::of(&desired.claimants, nic_child);
    let caught = nic_children().filter(|nic_child| claims.is_caught(&facts, &desired.claimants, *nic_child));
    let caught: BTreeSet<Suspect> = caught.map(suspect).collect();
    memory.distrusted.extend(caught.iter().cloned());
    host.distrusted.clone_from(&memory.distrusted);
    let facts = Facts { snapshot, config, host: &host };
    let again = nic_children().filter(|nic_child| caught.contains(&suspect(*nic_child)));
    again.for_each(|nic_child| drop(claims.weigh(&facts, &desired.claimants, nic_child)));
    desired.claims = claims;
    settle_all(&facts, &mut desired, &mut memory.tenure, now);
    place_shims(&facts, inventory, &mut desired, &memory.refused_macs);
    desired.rules = rules(&facts, &desired.shims, &desired.holders);
    desired.problems.extend(filter::problems(&snapshot.filter, &desired.shims));
    desired.problems.sort();
    desired.problems.dedup();
    let unclaimed = desired.holders.iter().filter(|(_, holder)| holder.nic.is_none());
    memory.unclaimed.extend(unclaimed.map(|(address, holder)| UnclaimedAddress {
        parent: holder.parent,
        mac: holder.mac,
        address: *address,
    }));
    host.unclaimed.clone_from(&memory.unclaimed);
    desired.host = host;
    desired
}

/// Decides who holds which address.
fn settle_all(facts: &Facts<'_>, desired: &mut Desired, tenure: &mut Tenure, now: Instant) {
    if tenure.is_new() {
        adopt(facts.snapshot, tenure);
    }
    tenure.forget_names(|nic| desired.decisions.contains_key(nic));
    let addresses: BTreeSet<IpAddr> = desired.claims.addresses().chain(tenure.addresses()).collect();
    for address in addresses {
        settle(facts, desired, tenure, address, now);
    }
    tenure.begin();
    tenure.tidy(now);
    leftovers::find_all(facts, desired, tenure);
}

fn decision(facts: &Facts<'_>, guest: &Guest, nic: &Nic, child: Option<&ChildKey>) -> Decision {
    if guest.power == Power::Stopped {
        return Decision::Stopped;
    }
    if let Some((code, message)) = left_out(&facts.config.select, guest) {
        return Decision::Unselected(code, message);
    }
    if guest.kind == GuestKind::VirtualMachine {
        let message = "a VM's addresses cannot be seen from the host; virtual machines are not served yet";
        return Decision::Unsupported("vm", message.to_owned());
    }
    let seen = child.and_then(|key| Some((*key, facts.snapshot.children.get(key)?)));
    let mode = seen.map_or(nic.mode, |(_, child)| child.mode);
    if mode != Mode::Bridge {
        let message = format!("its macvlan mode is {mode}; only mode bridge can reach the host");
        return Decision::Unsupported("mode", message);
    }
    match (seen, &nic.parent) {
        (Some((key, child)), _) => Decision::Served { child: key, parent: child.parent, mac: child.mac },
        (None, NicParent::Unknown(why)) => Decision::Unseen(why.clone()),
        (None, NicParent::Link { name, vlan }) => Decision::Unseen(match facts.resolve(name, *vlan) {
            None => format!("its parent {} does not exist on this host", nic.parent),
            Some(_) => format!("the kernel shows no macvlan link of it on {}", nic.parent),
        }),
    }
}

fn claimants(
    facts: &Facts<'_>,
    inventory: &Inventory,
    joins: &Joins,
    decisions: &BTreeMap<NicKey, Decision>,
) -> Claimants {
    let snapshot = facts.snapshot;
    let mut claimants = Claimants::default();
    let nic_of = nics_of(snapshot, joins);
    for (key, nic) in &nic_of {
        if let (Some(Decision::Served { child: nic_child, mac, .. }), Some(child)) =
            (decisions.get(*nic), snapshot.children.get(key))
        {
            let mac = if child.mode == Mode::Bridge { child.mac } else { *mac };
            claimants.served.insert(*key, ServedAs { nic: (*nic).clone(), nic_child: *nic_child, mac });
        }
    }
    let nics = inventory.guests().flat_map(|(key, guest)| {
        let mac = move |nic: &Nic| Some((NicKey { guest: key.clone(), nic: nic.name.clone() }, nic.mac?));
        guest.nics.iter().filter_map(mac)
    });
    let nics: BTreeMap<NicKey, Mac> = nics.collect();
    let given: BTreeSet<Mac> = nics.values().copied().collect();
    let is_served = |nic: &NicKey| decisions.get(nic).is_some_and(|decision| decision.parent().is_some());
    claimants.given = nics.into_iter().filter(|(nic, _)| is_served(nic)).collect();
    let known = |key: &ChildKey, child: &Child| given.contains(&child.mac) || nic_of.contains_key(key);
    // Where one child is a guest's, all in its namespace on that parent are.
    let place =
        |key: &ChildKey, child: &Child| (key.netns != Netns::Host).then_some((key.netns, child.parent));
    let spoken_for = snapshot.children.iter().filter(|(key, child)| known(key, child));
    let spoken_for: BTreeSet<_> = spoken_for.filter_map(|(key, child)| place(key, child)).collect();
    let unclaimed = snapshot.children.iter().filter(|(key, child)| {
        let claimed = known(key, child) || place(key, child).is_some_and(|it| spoken_for.contains(&it));
        !child.tap && !claimed && !reached_at(snapshot, **key, child).is_empty()
    });
    let unclaimed = unclaimed.map(|(key, _)| *key).collect();
    claimants.unclaimed = unclaimed;
    let parents: BTreeSet<LinkIndex> = decisions.values().filter_map(Decision::parent).collect();
    let blocked = |parent: &LinkIndex| {
        let link = facts.snapshot.links.get(parent);
        link.is_none_or(|link| shim::obstacle(facts, link).is_some())
    };
    claimants.blocked = parents.iter().copied().filter(blocked).collect();
    claimants
}

/// The rules that must stand: where our own table is used by any route.
pub(super) fn rules(
    facts: &Facts<'_>,
    shims: &BTreeMap<LinkIndex, DesiredShim>,
    holders: &BTreeMap<IpAddr, Holder>,
) -> BTreeMap<Family, u32> {
    let stands = |parent| shims.get(parent).is_some_and(|shim: &DesiredShim| shim.obstacle.is_none());
    let is_used = |family: Family| {
        let ranges =
            shims.values().filter(|shim| shim.obstacle.is_none()).flat_map(|shim| shim.ranges.keys());
        let mut holders = holders
            .iter()
            .filter(|(address, holder)| Family::of(**address) == family && stands(&holder.parent));
        ranges.map(|range| Family::of(*range)).any(|of| of == family) || holders.next().is_some()
    };
    let needed = |family| Some((family, facts.rule(family)?));
    Family::ALL.into_iter().filter_map(needed).filter(|(family, _)| is_used(*family)).collect()
}
