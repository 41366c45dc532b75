//! Decides which objects should exist, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::Desired;
use super::facts::{Facts, HostFacts, Suspect, Trust};
use super::hold::{Claimants, Claims, Held, claimants, settle_all};
use super::inputs::Inputs;
use super::join::{Running, doubts, homes, join, overhear};
use super::memory::Memory;
use super::select::{Decision, decision};
use super::shims::{Demand, rules, shims};
use crate::model::inventory::{Nics, OptOut};
use crate::model::snapshot::ChildKey;
use crate::model::status::Problem;
use crate::model::{Code, NicKey};

/// Decides everything. `memory` is left by the last decision. The answer has the memory for the next one.
pub fn desire(inputs: &Inputs<'_>, memory: &Memory) -> (Desired, Memory) {
    let Inputs { config, inventory, snapshot, now } = *inputs;
    let host = HostFacts::gather(config, inventory, snapshot, &memory.refused_macs);
    let facts = Facts { snapshot, config, host: &host, trust: &memory.trust };
    let running = Running::of(&facts, inventory);
    let joins = join(&facts, &running, &memory.joins, &memory.homes);
    let homes = homes(&facts, &running, &joins, &memory.homes);
    let doubts = doubts(&facts, &running, &joins);
    let mut problems = overhear::problems(&facts, inventory, &joins);
    let mut decisions = BTreeMap::new();
    for (key, guest) in inventory.guests() {
        if let OptOut::Invalid(value) = &guest.opt {
            problems.push(Problem::new(
                Code::InvalidOptOut,
                key.to_string(),
                format!(
                    "user.macvlan-shim.enabled is \"{value}\", neither true nor false; the guest takes part"
                ),
                "set it to true or false, or unset it",
            ));
        }
        for nic in guest.nics.told() {
            let nic_key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            let decision = decision(&facts, guest, Some(nic), joins.child(&nic_key));
            decisions.insert(nic_key, decision);
        }
        for (nic_key, child) in joins.nics_of(&key).filter(|_| guest.nics == Nics::AllInItsNamespace) {
            decisions.insert(nic_key.clone(), decision(&facts, guest, None, Some(child)));
        }
    }
    problems.extend(select_matches_nothing(&decisions).filter(|_| inventory.settled()));
    let claimants = claimants(&facts, inventory, &joins, &decisions);
    let mut trust = Trust {
        distrusted: claimants.still_distrusted(&memory.trust.distrusted, inventory, snapshot),
        unclaimed: claimants.still_unclaimed(&host, snapshot, &memory.trust.unclaimed),
        unasked: memory.trust.unasked.clone(),
    };
    let claims = weigh_all(&facts, &mut trust, &claimants);
    let facts = Facts { trust: &trust, ..facts };
    let mut held = Held { claimants, claims, ..Held::default() };
    let mut tenure = memory.tenure.clone();
    let leftovers = settle_all(&facts, &mut held, &mut tenure, |nic| decisions.contains_key(nic), now);
    let settled = inventory.settled();
    let demand = Demand { inventory, decisions: &decisions, held: &held, settled };
    let (shims, of_shims) = shims(&facts, &demand, &memory.refused_macs);
    let rules = rules(&facts, &shims, &held.holders);
    problems.extend(of_shims);
    problems.sort();
    problems.dedup();
    trust.unclaimed.extend(held.unclaimed_addresses());
    let unclaimed = trust.unclaimed.clone();
    let memory = Memory { joins, homes, refused_macs: memory.refused_macs.clone(), trust, tenure };
    let desired =
        Desired { shims, rules, decisions, doubts, held, leftovers, settled, problems, host, unclaimed };
    (desired, memory)
}

/// `[select]` is meant to leave out some guests, and leaves out all of them.
fn select_matches_nothing(decisions: &BTreeMap<NicKey, Decision>) -> Option<Problem> {
    let by_select =
        |decision: &Decision| matches!(decision, Decision::Unselected(Code::Profile | Code::Project, _));
    let running = || decisions.values().filter(|decision| **decision != Decision::Stopped);
    if running().next().is_none() || !running().all(by_select) {
        return None;
    }
    Some(Problem::new(
        Code::SelectMatchesNothing,
        "[select]",
        "it leaves out every running guest that has a macvlan NIC",
        "correct its profiles and projects: the reasons are shown with the guests",
    ))
}

/// Weighs the claims of all children. A guest that is caught with another machine's address is distrusted
/// from this very moment, so all its claims are weighed again.
fn weigh_all(facts: &Facts<'_>, trust: &mut Trust, claimants: &Claimants) -> Claims {
    let all = facts.snapshot.children.keys().copied();
    let nic_children: Vec<ChildKey> = all.filter(|child| claimants.nic_child(*child) == *child).collect();
    let mut claims = Claims::default();
    let before = Facts { trust: &*trust, ..*facts };
    nic_children.iter().for_each(|nic_child| drop(claims.weigh(&before, claimants, *nic_child)));
    let caught = nic_children.iter().filter(|nic_child| claims.is_caught(&before, claimants, **nic_child));
    let caught: BTreeSet<Suspect> = caught.map(|nic_child| claimants.suspect(*nic_child)).collect();
    trust.distrusted.extend(caught.iter().cloned());
    let after = Facts { trust: &*trust, ..*facts };
    let again = nic_children.iter().filter(|nic_child| caught.contains(&claimants.suspect(**nic_child)));
    again.for_each(|nic_child| drop(claims.weigh(&after, claimants, *nic_child)));
    claims
}
