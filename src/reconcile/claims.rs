//! Who holds an address that several claim, and what stands though no server vouches for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::admit::{Reason, Verdict};
use super::desire::verdicts;
use super::desired::Decision;
use super::ground::Ground;
use super::join::Joins;
use super::shim;
use crate::model::inventory::{Inventory, Mode};
use crate::model::snapshot::ChildKey;
use crate::model::{Mac, NicKey};

/// A standing route whose guest the kernel still shows, though no server vouches for it.
pub(super) struct Unclaimed {
    pub(super) parent: u32,
    pub(super) address: IpAddr,
    pub(super) mac: Mac,
    pub(super) verdict: Verdict,
}

pub(super) fn unclaimed(ground: &Ground<'_>, inventory: &Inventory, joins: &Joins) -> Vec<Unclaimed> {
    let owned: BTreeSet<Mac> =
        inventory.guests().flat_map(|(_, guest)| guest.nics.iter().filter_map(|nic| nic.mac)).collect();
    let joined: BTreeSet<&ChildKey> = joins.values().collect();
    let mut found = Vec::new();
    for (key, child) in &ground.snapshot.children {
        if owned.contains(&child.mac) || joined.contains(key) || child.mode != Mode::Bridge || child.tap {
            continue;
        }
        for (address, verdict) in verdicts(ground, child) {
            if ground.holds(child.parent, child.mac, address) {
                found.push(Unclaimed { parent: child.parent, address, mac: child.mac, verdict });
            }
        }
    }
    found
}

/// Where several NICs claim an address, one holds it and the others are refused. The holder is the one that our
/// neighbour entry names: there where it is now, else on another parent. Where there is no holder yet, it is the
/// first in the order of keys. Where no shim can stand nobody can hold anything.
pub(super) fn settle_claims(
    ground: &Ground<'_>,
    decisions: &mut BTreeMap<NicKey, Decision>,
    unclaimed: &mut [Unclaimed],
) {
    let served = |decision: &Decision| match decision {
        Decision::Served { parent, .. } => Some(*parent),
        _ => None,
    };
    let parents: BTreeSet<u32> = decisions.values().filter_map(served).collect();
    let blocked = |parent: &u32| {
        let link = ground.snapshot.links.get(parent);
        link.is_none_or(|link| shim::obstacle(ground, link, &parents).is_some())
    };
    let blocked: BTreeSet<u32> = parents.iter().copied().filter(blocked).collect();
    let mut claims: BTreeMap<IpAddr, BTreeSet<Claim>> = BTreeMap::new();
    let mut claim = |address: IpAddr, parent: u32, mac: Mac, nic: Option<&NicKey>| {
        let claim = Claim {
            blocked: blocked.contains(&parent),
            holds_not_here: !ground.holds(parent, mac, address),
            holds_nowhere: !ground.holds_anywhere(mac, address),
            unclaimed: nic.is_none(),
            nic: nic.cloned(),
            parent,
            mac,
        };
        claims.entry(address).or_default().insert(claim);
    };
    for (key, decision) in decisions.iter() {
        let Decision::Served { parent, mac, addresses, .. } = decision else { continue };
        for (address, _) in addresses.iter().filter(|(_, verdict)| verdict.source().is_some()) {
            claim(*address, *parent, *mac, Some(key));
        }
    }
    for one in unclaimed.iter().filter(|one| one.verdict.source().is_some()) {
        claim(one.address, one.parent, one.mac, None);
    }
    for (address, claims) in claims {
        let mut claims = claims.into_iter();
        let Some(winner) = claims.next() else { continue };
        let by = winner.nic.map_or_else(|| winner.mac.to_string(), |nic| nic.to_string());
        let refusal = Verdict::refused(Reason::Held, format!("{by} holds {address}"));
        for loser in claims {
            let decision = loser.nic.and_then(|nic| decisions.get_mut(&nic));
            if let Some(Decision::Served { addresses, .. }) = decision {
                addresses.insert(address, refusal.clone());
            } else {
                let same = |one: &&mut Unclaimed| {
                    (one.address, one.parent, one.mac) == (address, loser.parent, loser.mac)
                };
                unclaimed.iter_mut().filter(same).for_each(|one| one.verdict = refusal.clone());
            }
        }
    }
}

/// One NIC's claim to an address; the best sorts first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    blocked: bool,
    holds_not_here: bool,
    holds_nowhere: bool,
    unclaimed: bool,
    nic: Option<NicKey>,
    parent: u32,
    mac: Mac,
}
