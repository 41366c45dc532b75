//! The claims to addresses and their holders: plain data, and its consequences.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::claimants::Claimants;
use super::claims::Claims;
use super::tenure::{Contest, WAIT};
use crate::model::snapshot::ChildKey;
use crate::model::status::Problem;
use crate::model::{Code, LinkIndex, Mac, NicKey};
use crate::reconcile::admit::{Others, Refusal, Verdict, held};
use crate::reconcile::facts::UnclaimedAddress;

/// The claims to addresses and their holders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// The possible claimants.
    pub claimants: Claimants,
    /// The claims.
    pub claims: Claims,
    /// The holders: the guests' addresses that should be routed, on whatever shim.
    pub holders: BTreeMap<IpAddr, Holder>,
    /// The addresses with several present or former claimants, if that makes a difference.
    pub contests: BTreeMap<IpAddr, Contest>,
    /// The held addresses that a former holder may come back to.
    pub seconds: BTreeSet<IpAddr>,
}

/// The holder of an address that should be routed.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The child that has it.
    pub child: ChildKey,
    /// The child's parent, by ifindex.
    pub parent: LinkIndex,
    /// The MAC at which the child is reached: its own, unless it is a sibling of the NIC in another mode.
    pub mac: Mac,
    /// The preferred source.
    pub source: IpAddr,
    /// The NIC; `None` if no server vouches for it (`unclaimed`).
    pub nic: Option<NicKey>,
}

impl Held {
    /// The final verdicts on every address of a served NIC and its siblings, given the NIC's child and after
    /// competing claims. If several siblings have an address, the holder's verdict is shown.
    pub fn verdicts(&self, nic_child: &ChildKey) -> impl Iterator<Item = (IpAddr, Cow<'_, Verdict>)> {
        let mut verdicts = BTreeMap::new();
        for child in self.claimants.with_siblings(*nic_child) {
            for (address, own) in self.claims.of(&child) {
                let holds = self.holders.get(&address).is_some_and(|holder| holder.child == child);
                if holds || !verdicts.contains_key(&address) {
                    verdicts.insert(address, self.weighed(&child, address, own));
                }
            }
        }
        verdicts.into_iter()
    }

    /// Why an address of a child that takes part is refused, if it is.
    pub fn refusal(&self, child: &ChildKey, address: IpAddr) -> Option<Cow<'_, Refusal>> {
        match self.weighed(child, address, self.claims.verdict(child, address)?) {
            Cow::Borrowed(Verdict::Refused(refusal)) => Some(Cow::Borrowed(refusal)),
            Cow::Owned(Verdict::Refused(refusal)) => Some(Cow::Owned(refusal)),
            _ => None,
        }
    }

    /// Whether another machine is known to have an address that a child claims.
    pub(in crate::reconcile) fn is_disputed(&self, child: &ChildKey, address: IpAddr) -> bool {
        self.refusal(child, address).is_some_and(|refusal| refusal.code == Code::HeldOnLan)
    }

    fn weighed<'a>(&'a self, child: &ChildKey, address: IpAddr, own: &'a Verdict) -> Cow<'a, Verdict> {
        if own.source().is_none() {
            return Cow::Borrowed(own);
        }
        match held(&self.others(child, address), address) {
            Some(refusal) => Cow::Owned(Verdict::Refused(refusal)),
            None => Cow::Borrowed(own),
        }
    }

    /// The part of an address that other NICs leave to a child.
    pub(super) fn others(&self, child: &ChildKey, address: IpAddr) -> Others {
        match (self.holders.get(&address), self.contests.get(&address)) {
            (Some(holder), _) if holder.child != *child => Others::Hold { holder: holder.to_string() },
            (None, Some(Contest::Waits { had })) => {
                Others::MayComeBack { had: had.to_string(), wait: WAIT.as_secs() }
            }
            _ => Others::Leave,
        }
    }

    /// The addresses that are held although no server vouches for their holders.
    pub(in crate::reconcile) fn unclaimed_addresses(&self) -> impl Iterator<Item = UnclaimedAddress> {
        let unclaimed = self.holders.iter().filter(|(_, holder)| holder.nic.is_none());
        unclaimed.map(|(address, holder)| UnclaimedAddress {
            parent: holder.parent,
            mac: holder.mac,
            address: *address,
        })
    }

    /// Others than the holder of an address also have it.
    pub(in crate::reconcile) fn conflicts(&self) -> impl Iterator<Item = Problem> {
        self.contests.iter().filter_map(|(address, contest)| {
            let Contest::Shared { others } = contest else { return None };
            let holder = self.holders.get(address)?;
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            let (named, more) = others.split_at(others.len().min(NAMED));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let named = named.join(", ");
            Some(Problem::new(
                Code::AddressConflict,
                address.to_string(),
                format!("{holder} and {named}{more} both have {address}; the host reaches {holder} at it"),
                format!(
                    "give {named}{more} another address, or take it from {holder}: the next one gets it {} s later",
                    WAIT.as_secs()
                ),
            ))
        })
    }
}

/// Maximum number of NICs that are named as also having an address.
const NAMED: usize = 3;

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nic {
            Some(nic) => nic.fmt(f),
            None => self.mac.fmt(f),
        }
    }
}
