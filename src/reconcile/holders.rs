//! The holder of an address that one or more children claim.

use std::net::IpAddr;
use std::time::Instant;

use super::admit::{Reason, Verdict};
use super::claims::{Claims, Parties};
use super::desired::{Desired, Holder};
use super::ground::Ground;
use super::kin::reached_at;
use super::tenure::{Claim, Judgement, Party, Tenure};
use crate::model::Snapshot;
use crate::model::snapshot::{ChildKey, Link};

/// Decides who holds an address, and enters it. Where nothing is remembered it is the one that our neighbour entry names,
/// there where it is now, else on another parent; and where there is none yet, the first in the order of keys.
/// Returns the holder that it had.
pub(super) fn settle(
    ground: &Ground<'_>,
    desired: &mut Desired,
    tenure: &mut Tenure,
    address: IpAddr,
    now: Instant,
) -> Option<Holder> {
    let Desired { parties, claims, holders, contests, seconds, .. } = desired;
    let ranked = ranked(ground, parties, claims, address);
    let by_rank: Vec<Claim<'_>> = ranked.iter().map(|(claim, _)| *claim).collect();
    let Judgement { holder, second, contest } = tenure.judge(address, &by_rank, now);
    match contest {
        Some(contest) => drop(contests.insert(address, contest)),
        None => drop(contests.remove(&address)),
    }
    match second {
        true => seconds.insert(address),
        false => seconds.remove(&address),
    };
    match holder.and_then(|at| ranked[at].1.clone()) {
        Some(holder) => holders.insert(address, holder),
        None => holders.remove(&address),
    }
}

/// All claims to an address, the best first, each with what its claimant becomes if it gets the address.
fn ranked<'a>(
    ground: &Ground<'_>,
    parties: &'a Parties,
    claims: &Claims,
    address: IpAddr,
) -> Vec<(Claim<'a>, Option<Holder>)> {
    let claim = |key: &ChildKey| {
        let verdict = claims.verdict(key, address)?;
        let child = ground.snapshot.children.get(key)?;
        let parent = child.parent;
        let stand = parties.stand(ground.facts, ground.snapshot, key, address);
        let (mac, nic) = match stand {
            Some(stand) => stand,
            None if parties.orphans.contains(key) => {
                (reached_at(ground.snapshot, *key, child).first().copied().unwrap_or(child.mac), None)
            }
            None => return None,
        };
        let holds = ground.holds(parent, mac, address);
        let elsewhere = !holds && !ground.holds_anywhere(mac, address);
        let blocked = parties.blocked.contains(&parent);
        let (admitted, stands) = (verdict.source().is_some(), stand.is_some());
        let has = !blocked && (admitted || is_kept_from_it(verdict));
        let given = nic.and_then(|nic| parties.given.get(nic).copied());
        let claim = Claim { nic, parent, mac, given, admitted, stands, blocked, has };
        let rank = (!admitted, !stands, blocked, !holds, elsewhere, nic.is_none(), nic, parent, mac, *key);
        let holder = verdict.source().filter(|_| stands).map(|source| Holder {
            child: *key,
            parent,
            mac,
            source,
            nic: nic.cloned(),
        });
        Some((rank, claim, holder))
    };
    let mut ranked: Vec<_> = claims.claimants(address).filter_map(claim).collect();
    ranked.sort_by_key(|(rank, ..)| *rank);
    ranked.into_iter().map(|(_, claim, holder)| (claim, holder)).collect()
}

/// An address is refused, and that is none of the guest's doing: it has the address as before. What a guest can turn on
/// and off as it likes must not keep its right to an address that it does not use.
fn is_kept_from_it(verdict: &Verdict) -> bool {
    use Reason as R;
    let Verdict::Refused(refusal) = verdict else { return false };
    !matches!(
        refusal.reason,
        R::NotGlobal | R::Tentative | R::Duplicate | R::MasterMac | R::LinkDown | R::Limit
    )
}

/// Takes over what earlier processes gave: those whom our neighbour entries name.
pub(super) fn adopt(snapshot: &Snapshot, tenure: &mut Tenure) {
    for ((address, link), entry) in snapshot.neighbours.iter().filter(|(_, entry)| entry.ours) {
        let parent = snapshot.links.get(link).and_then(Link::shim_parent);
        if let (Some(parent), Some(mac)) = (parent, entry.mac) {
            tenure.adopt(*address, Party { nic: None, parent, mac });
        }
    }
}
