//! The holder of an address that one or more children claim.

use std::net::IpAddr;
use std::time::Instant;

use super::claimants::Claimants;
use super::claims::Claims;
use super::held::{Held, Holder};
use super::tenure::{Claim, Judgement, Party, Tenure};
use crate::model::snapshot::{ChildKey, Link};
use crate::model::{Code, LinkIndex, Mac, NicKey, Snapshot};
use crate::reconcile::admit::Verdict;
use crate::reconcile::facts::Facts;
use crate::reconcile::facts::siblings::reached_at;

/// Decides who holds an address, and enters it. If nothing is remembered, our neighbour entry decides: the
/// child that it names, on its present parent, else on another one. If there is no entry yet, the first in
/// the order of keys gets it. Returns the former holder.
pub(in crate::reconcile) fn settle(
    facts: &Facts<'_>,
    held: &mut Held,
    tenure: &mut Tenure,
    address: IpAddr,
    now: Instant,
) -> Option<Holder> {
    let Held { claimants, claims, holders, contests, seconds } = held;
    let ranked = ranked(facts, claimants, claims, address);
    let by_rank: Vec<Claim<'_>> = ranked.iter().map(|ranked| ranked.claim).collect();
    let Judgement { holder, second, contest } = tenure.judge(address, &by_rank, now);
    match contest {
        Some(contest) => drop(contests.insert(address, contest)),
        None => drop(contests.remove(&address)),
    }
    match second {
        true => seconds.insert(address),
        false => seconds.remove(&address),
    };
    match holder.and_then(|at| ranked[at].holder.clone()) {
        Some(holder) => holders.insert(address, holder),
        None => holders.remove(&address),
    }
}

/// The rank of a claim to an address, the best first, if nothing is remembered of it. Each field decides only
/// between claims that are equal in all fields before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    /// The claim is refused. This comes first because such a claimant never gets the address.
    is_refused: bool,
    /// No server vouches for the child, and it does not hold the address. Such a child may claim nothing new.
    is_outsider: bool,
    /// The parent cannot have a shim, so the host reaches nobody there.
    is_blocked: bool,
    /// Our neighbour entry on this parent does not name the child. Its holder keeps an address while others
    /// claim it.
    is_newcomer: bool,
    /// Our neighbour entry on no parent names it. A holder that moved to another parent comes before
    /// strangers.
    is_unknown: bool,
    /// No server vouches for the child, although it holds the address. A known NIC is the safer choice.
    is_unclaimed: bool,
    /// The order of names and keys decides the rest, so that the order of input does not matter.
    nic: Option<&'a NicKey>,
    /// The parent: a NIC may have children on several.
    parent: LinkIndex,
    /// The MAC at which the child is reached.
    mac: Mac,
    /// The child: a NIC may have several with one MAC.
    child: ChildKey,
}

/// A claim, and the holder that its claimant would be.
struct Ranked<'a> {
    rank: Rank<'a>,
    claim: Claim<'a>,
    holder: Option<Holder>,
}

/// All claims to an address, the best first.
fn ranked<'a>(
    facts: &Facts<'_>,
    claimants: &'a Claimants,
    claims: &Claims,
    address: IpAddr,
) -> Vec<Ranked<'a>> {
    let claim = |key: &ChildKey| {
        let verdict = claims.verdict(key, address)?;
        let child = facts.snapshot.children.get(key)?;
        let parent = child.parent;
        let stand = claimants.claim_of(facts.snapshot, key, |parent, mac| facts.holds(parent, mac, address));
        let (mac, nic) = match stand {
            Some(stand) => stand,
            None if claimants.unclaimed.contains(key) => {
                (reached_at(facts.snapshot, *key, child).first().copied().unwrap_or(child.mac), None)
            }
            None => return None,
        };
        let holds = facts.holds(parent, mac, address);
        let blocked = claimants.blocked.contains(&parent);
        let (admitted, stands) = (verdict.source().is_some(), stand.is_some());
        let has = !blocked && (admitted || is_kept_from_it(verdict));
        let given = nic.and_then(|nic| claimants.given.get(nic).copied());
        let claim = Claim { nic, parent, mac, given, admitted, stands, blocked, has };
        let rank = Rank {
            is_refused: !admitted,
            is_outsider: !stands,
            is_blocked: blocked,
            is_newcomer: !holds,
            is_unknown: !holds && !facts.holds_anywhere(mac, address),
            is_unclaimed: nic.is_none(),
            nic,
            parent,
            mac,
            child: *key,
        };
        let holder = verdict.source().filter(|_| stands).map(|source| Holder {
            child: *key,
            parent,
            mac,
            source,
            nic: nic.cloned(),
        });
        Some(Ranked { rank, claim, holder })
    };
    let mut ranked: Vec<_> = claims.claimed_by(address).filter_map(claim).collect();
    ranked.sort_by_key(|ranked| ranked.rank);
    ranked
}

/// The address is refused, but not because of anything that the guest does. So the guest has the address as
/// before. But a refusal that a guest can turn on and off must not keep its right to an address that it does
/// not use.
fn is_kept_from_it(verdict: &Verdict) -> bool {
    use Code as R;
    let Verdict::Refused(refusal) = verdict else { return false };
    !matches!(
        refusal.code,
        R::NotGlobal | R::Tentative | R::Duplicate | R::MasterMac | R::LinkDown | R::Limit
    )
}

/// Takes over the holders that earlier processes chose: those that our neighbour entries name.
pub(super) fn adopt(snapshot: &Snapshot, tenure: &mut Tenure) {
    for ((address, link), entry) in snapshot.neighbours.iter().filter(|(_, entry)| entry.ours) {
        let parent = snapshot.links.get(link).and_then(Link::shim_parent);
        if let (Some(parent), Some(mac)) = (parent, entry.mac) {
            tenure.adopt(*address, Party { nic: None, parent, mac });
        }
    }
}
