//! Decides what should exist, each object with its reason.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::admit::{Reason, Verdict, admit};
use super::claims::{settle_claims, unclaimed};
use super::desired::{Decision, Desired, Memory};
use super::ground::{Facts, Ground};
use super::join::join;
use super::place::place_shims;
use super::select::left_out;
use crate::config::Config;
use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, Nic, NicParent, OptOut, Power};
use crate::model::snapshot::{Child, ChildKey};
use crate::model::status::Problem;
use crate::model::{NicKey, Snapshot};

/// Decides. `memory` is what the last call left, updated to what the next one needs.
pub fn desire(config: &Config, inventory: &Inventory, snapshot: &Snapshot, memory: &mut Memory) -> Desired {
    let facts = Facts::gather(config, snapshot, &memory.refused_macs);
    let ground = Ground { snapshot, config, facts: &facts };
    memory.joins = join(&ground, inventory, &memory.joins);
    let mut desired = Desired { settled: inventory.settled(), ..Desired::default() };
    for (key, guest) in inventory.guests() {
        if let OptOut::Invalid(value) = &guest.opt {
            desired.problems.push(Problem {
                code: "invalid-opt-out".to_owned(),
                object: key.to_string(),
                message: format!(
                    "user.macvlan-shim.enabled is {value:?}, neither true nor false; the guest takes part"
                ),
                hint: "set it to true or false, or unset it".to_owned(),
            });
        }
        for nic in &guest.nics {
            let nic_key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            let decision = decide(&ground, guest, nic, memory.joins.get(&nic_key));
            if let Decision::Served { child, .. } = &decision {
                desired.served.insert(*child, nic_key.clone());
            }
            desired.decisions.insert(nic_key, decision);
        }
    }
    let mut unclaimed = unclaimed(&ground, inventory, &memory.joins);
    settle_claims(&ground, &mut desired.decisions, &mut unclaimed);
    place_shims(&ground, inventory, &mut desired, &unclaimed, &memory.refused_macs);
    for ipv6 in [false, true] {
        let table_used = desired.shims.values().filter(|shim| shim.obstacle.is_none()).any(|shim| {
            let hosts = shim.hosts.keys().any(|address| address.is_ipv6() == ipv6);
            hosts || shim.ranges.keys().any(|range| range.addr().is_ipv6() == ipv6)
        });
        if let (true, Some(priority)) = (table_used, ground.rule(ipv6)) {
            desired.rules.insert(ipv6, priority);
        }
    }
    desired.problems.sort();
    desired.problems.dedup();
    desired.facts = facts;
    desired
}

fn decide(ground: &Ground<'_>, guest: &Guest, nic: &Nic, child: Option<&ChildKey>) -> Decision {
    if guest.power == Power::Stopped {
        return Decision::Stopped;
    }
    if let Some((code, message)) = left_out(&ground.config.select, guest) {
        return Decision::Unselected(code, message);
    }
    if guest.kind == GuestKind::VirtualMachine {
        let message = "a VM's addresses cannot be seen from the host; virtual machines are not served yet";
        return Decision::Unsupported("vm", message.to_owned());
    }
    let seen = child.and_then(|key| Some((*key, ground.snapshot.children.get(key)?)));
    let mode = seen.map_or(nic.mode, |(_, child)| child.mode);
    if mode != Mode::Bridge {
        let message = format!("its macvlan mode is {mode}; only mode bridge can reach the host");
        return Decision::Unsupported("mode", message);
    }
    match (seen, &nic.parent) {
        (Some((key, child)), _) => Decision::Served {
            child: key,
            parent: child.parent,
            mac: child.mac,
            addresses: verdicts(ground, child),
        },
        (None, NicParent::Unknown(why)) => Decision::Unseen(why.clone()),
        (None, NicParent::Link { name, vlan }) => Decision::Unseen(match ground.resolve(name, *vlan) {
            None => format!("its parent {} does not exist on this host", nic.parent),
            Some(_) => format!("the kernel shows no macvlan link of it on {}", nic.parent),
        }),
    }
}

/// The verdicts on a child's addresses by the rules that concern it alone, and its limit.
pub(super) fn verdicts(ground: &Ground<'_>, child: &Child) -> BTreeMap<IpAddr, Verdict> {
    let Some(parent) = ground.snapshot.links.get(&child.parent) else { return BTreeMap::new() };
    let mut verdicts: BTreeMap<IpAddr, Verdict> = BTreeMap::new();
    for (address, state) in &child.addresses {
        verdicts.insert(address.addr(), admit(ground, parent, child.mac, *address, *state));
    }
    let max = ground.config.policy.max_addresses;
    let mut admitted: Vec<IpAddr> =
        verdicts.iter().filter(|(_, verdict)| verdict.source().is_some()).map(|(ip, _)| *ip).collect();
    admitted.sort_by_key(|ip| (!ground.holds(child.parent, child.mac, *ip), *ip));
    for ip in admitted.into_iter().skip(max) {
        let message = format!("this NIC has {max} addresses routed already (policy.max_addresses)");
        verdicts.insert(ip, Verdict::refused(Reason::Limit, message));
    }
    verdicts
}
