//! Decides what should exist, each object with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::claims::{Claims, Parties, Seat};
use super::desired::{Decision, Desired, DesiredShim, Holder, Memory};
use super::filter;
use super::ground::{Ground, Holding, HostFacts};
use super::holders::{adopt, settle};
use super::join::{Joins, doubts, homes, join};
use super::kin::{kin, reached_at};
use super::leftovers;
use super::overhear;
use super::place::place_shims;
use super::select::left_out;
use super::shim;
use super::suspects::{Suspect, still_distrusted};
use super::tenure::Tenure;
use crate::config::Config;
use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, Nic, NicParent, OptOut, Power};
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::status::Problem;
use crate::model::{Code, Family, LinkIndex, Mac, NicKey, Snapshot};

/// Decides. `memory` is what the last call left, updated to what the next one needs.
pub fn desire(
    config: &Config,
    inventory: &Inventory,
    snapshot: &Snapshot,
    memory: &mut Memory,
    now: Instant,
) -> Desired {
    let mut facts = HostFacts::gather(config, inventory, snapshot, memory);
    let ground = Ground { snapshot, config, facts: &facts };
    memory.joins = join(&ground, inventory, &memory.joins, &memory.homes);
    memory.homes = homes(&ground, inventory, &memory.joins, &memory.homes);
    let doubts = doubts(&ground, inventory, &memory.joins);
    let mut desired = Desired { settled: inventory.settled(), doubts, ..Desired::default() };
    desired.problems.extend(overhear::problems(&ground, inventory, &memory.joins));
    for (key, guest) in inventory.guests() {
        if let OptOut::Invalid(value) = &guest.opt {
            desired.problems.push(Problem::new(
                Code::InvalidOptOut,
                key.to_string(),
                format!(
                    "user.macvlan-shim.enabled is \"{value}\", neither true nor false; the guest takes part"
                ),
                "set it to true or false, or unset it",
            ));
        }
        for nic in &guest.nics {
            let nic_key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            let decision = decision(&ground, guest, nic, memory.joins.get(&nic_key));
            desired.decisions.insert(nic_key, decision);
        }
    }
    desired.parties = parties(&ground, inventory, &memory.joins, &desired.decisions);
    memory.unclaimed = desired.parties.still_unclaimed(&facts, snapshot, &memory.unclaimed);
    facts.unclaimed.clone_from(&memory.unclaimed);
    memory.distrusted = still_distrusted(&memory.distrusted, &desired.parties, inventory, snapshot);
    facts.distrusted.clone_from(&memory.distrusted);
    let ground = Ground { snapshot, config, facts: &facts };
    let mains = || snapshot.children.keys().copied().filter(|child| desired.parties.main(*child) == *child);
    let mut claims = Claims::default();
    mains().for_each(|main| drop(claims.weigh(&ground, &desired.parties, main)));
    // Whom we catch is not trusted from this very moment, nor is what else its guest has.
    let suspect = |main: ChildKey| Suspect::of(&desired.parties, main);
    let caught = mains().filter(|main| claims.is_caught(&ground, &desired.parties, *main));
    let caught: BTreeSet<Suspect> = caught.map(suspect).collect();
    memory.distrusted.extend(caught.iter().cloned());
    facts.distrusted.clone_from(&memory.distrusted);
    let ground = Ground { snapshot, config, facts: &facts };
    let again = mains().filter(|main| caught.contains(&suspect(*main)));
    again.for_each(|main| drop(claims.weigh(&ground, &desired.parties, main)));
    desired.claims = claims;
    settle_all(&ground, &mut desired, &mut memory.tenure, now);
    place_shims(&ground, inventory, &mut desired, &memory.refused_macs);
    desired.rules = rules(&ground, &desired.shims, &desired.holders);
    desired.problems.extend(filter::problems(&snapshot.filter, &desired.shims));
    desired.problems.sort();
    desired.problems.dedup();
    let unclaimed = desired.holders.iter().filter(|(_, holder)| holder.nic.is_none());
    memory.unclaimed.extend(unclaimed.map(|(address, holder)| Holding {
        parent: holder.parent,
        mac: holder.mac,
        address: *address,
    }));
    facts.unclaimed.clone_from(&memory.unclaimed);
    desired.facts = facts;
    desired
}

/// Decides who holds which address.
fn settle_all(ground: &Ground<'_>, desired: &mut Desired, tenure: &mut Tenure, now: Instant) {
    if tenure.is_new() {
        adopt(ground.snapshot, tenure);
    }
    tenure.forget_names(|nic| desired.decisions.contains_key(nic));
    let addresses: BTreeSet<IpAddr> = desired.claims.addresses().chain(tenure.addresses()).collect();
    for address in addresses {
        settle(ground, desired, tenure, address, now);
    }
    tenure.begin();
    tenure.tidy(now);
    leftovers::find_all(ground, desired, tenure);
}

fn decision(ground: &Ground<'_>, guest: &Guest, nic: &Nic, child: Option<&ChildKey>) -> Decision {
    if guest.power == Power::Stopped {
        return Decision::Stopped;
    }
    if let Some((code, message)) = left_out(&ground.config.select, guest) {
        return Decision::Unselected(code, message);
    }
    if guest.kind == GuestKind::VirtualMachine {
        let message = "a VM's addresses cannot be seen from the host; virtual machines are not served yet";
        return Decision::Unsupported(Code::Vm, message.to_owned());
    }
    let seen = child.and_then(|key| Some((*key, ground.snapshot.children.get(key)?)));
    let mode = seen.map_or(nic.mode, |(_, child)| child.mode);
    if mode != Mode::Bridge {
        let message = format!("its macvlan mode is {mode}; only mode bridge can reach the host");
        return Decision::Unsupported(Code::Mode, message);
    }
    match (seen, &nic.parent) {
        (Some((key, child)), _) => Decision::Served { child: key, parent: child.parent, mac: child.mac },
        (None, NicParent::Unknown(why)) => Decision::Unseen(why.clone()),
        (None, NicParent::Link { name, vlan }) => Decision::Unseen(match ground.resolve(name, *vlan) {
            None => format!("its parent {} does not exist on this host", nic.parent),
            Some(_) => format!("the kernel shows no macvlan link of it on {}", nic.parent),
        }),
    }
}

fn parties(
    ground: &Ground<'_>,
    inventory: &Inventory,
    joins: &Joins,
    decisions: &BTreeMap<NicKey, Decision>,
) -> Parties {
    let snapshot = ground.snapshot;
    let mut parties = Parties::default();
    let kin = kin(snapshot, joins);
    for (key, nic) in &kin {
        if let (Some(Decision::Served { child: main, mac, .. }), Some(child)) =
            (decisions.get(*nic), snapshot.children.get(key))
        {
            let mac = if child.mode == Mode::Bridge { child.mac } else { *mac };
            parties.served.insert(*key, Seat { nic: (*nic).clone(), main: *main, mac });
        }
    }
    let nics = inventory.guests().flat_map(|(key, guest)| {
        let mac = move |nic: &Nic| Some((NicKey { guest: key.clone(), nic: nic.name.clone() }, nic.mac?));
        guest.nics.iter().filter_map(mac)
    });
    let nics: BTreeMap<NicKey, Mac> = nics.collect();
    let given: BTreeSet<Mac> = nics.values().copied().collect();
    let is_served = |nic: &NicKey| decisions.get(nic).is_some_and(|decision| decision.parent().is_some());
    parties.given = nics.into_iter().filter(|(nic, _)| is_served(nic)).collect();
    let known = |key: &ChildKey, child: &Child| given.contains(&child.mac) || kin.contains_key(key);
    let family =
        |key: &ChildKey, child: &Child| (key.netns != Netns::Host).then_some((key.netns, child.parent));
    let spoken_for = snapshot.children.iter().filter(|(key, child)| known(key, child));
    let spoken_for: BTreeSet<_> = spoken_for.filter_map(|(key, child)| family(key, child)).collect();
    let orphans = snapshot.children.iter().filter(|(key, child)| {
        let claimed = known(key, child) || family(key, child).is_some_and(|it| spoken_for.contains(&it));
        !child.tap && !claimed && !reached_at(snapshot, **key, child).is_empty()
    });
    let orphans = orphans.map(|(key, _)| *key).collect();
    parties.orphans = orphans;
    let parents: BTreeSet<LinkIndex> = decisions.values().filter_map(Decision::parent).collect();
    let blocked = |parent: &LinkIndex| {
        let link = ground.snapshot.links.get(parent);
        link.is_none_or(|link| shim::obstacle(ground, link).is_some())
    };
    parties.blocked = parents.iter().copied().filter(blocked).collect();
    parties
}

/// The rules that must stand: where our own table is used by any route.
pub(super) fn rules(
    ground: &Ground<'_>,
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
    let needed = |family| Some((family, ground.rule(family)?));
    Family::ALL.into_iter().filter_map(needed).filter(|(family, _)| is_used(*family)).collect()
}
