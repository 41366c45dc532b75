//! The claims to addresses, and their verdicts.
//!
//! A child claims the addresses that it has. The verdict on each claim depends on that child and its siblings
//! alone. If several claims to an address are admitted, one child holds it. So one address is settled without
//! a look at others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::claimants::Claimants;
use crate::model::Code;
use crate::model::snapshot::ChildKey;
use crate::reconcile::admit::{Case, Others, Verdict, admit, is_answered};
use crate::reconcile::facts::Facts;

/// The first of all addresses in their order, and the last.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LAST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// The claims of all children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    verdicts: BTreeMap<(ChildKey, IpAddr), Verdict>,
    /// The same, by address.
    by_address: BTreeSet<(IpAddr, ChildKey)>,
}

impl Claims {
    /// The verdicts on a child's addresses, by the rules that are about it and its siblings alone.
    pub fn of(&self, child: &ChildKey) -> impl Iterator<Item = (IpAddr, &Verdict)> {
        let all = (*child, FIRST)..=(*child, LAST);
        self.verdicts.range(all).map(|((_, address), verdict)| (*address, verdict))
    }

    /// The verdict on one of them.
    pub fn verdict(&self, child: &ChildKey, address: IpAddr) -> Option<&Verdict> {
        self.verdicts.get(&(*child, address))
    }

    /// The children that claim an address.
    pub fn claimed_by(&self, address: IpAddr) -> impl Iterator<Item = &ChildKey> {
        let all = (address, ChildKey::FIRST)..=(address, ChildKey::LAST);
        self.by_address.range(all).map(|(_, child)| child)
    }

    /// The children that claim an address of a range.
    pub(in crate::reconcile) fn claimed_in(&self, range: IpNet) -> impl Iterator<Item = &ChildKey> {
        let all = (range.network(), ChildKey::FIRST)..=(range.broadcast(), ChildKey::LAST);
        self.by_address.range(all).map(|(_, child)| child)
    }

    /// The claimed addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let mut last = None;
        self.by_address
            .iter()
            .map(|(address, _)| *address)
            .filter(move |address| last.replace(*address) != Some(*address))
    }

    /// Weighs the present claims of a child and its siblings. Returns the addresses whose verdicts have
    /// changed.
    pub(in crate::reconcile) fn weigh(
        &mut self,
        facts: &Facts<'_>,
        claimants: &Claimants,
        nic_child: ChildKey,
    ) -> Vec<IpAddr> {
        let mut now = verdicts(facts, claimants, nic_child);
        let children = claimants.with_siblings(nic_child);
        children.flat_map(|key| self.enter(key, now.remove(&key).unwrap_or_default())).collect()
    }

    /// Replaces the former verdicts on a child's addresses.
    fn enter(&mut self, key: ChildKey, now: BTreeMap<IpAddr, Verdict>) -> Vec<IpAddr> {
        let mut changed: Vec<IpAddr> =
            self.of(&key).map(|(address, _)| address).filter(|address| !now.contains_key(address)).collect();
        for address in &changed {
            self.verdicts.remove(&(key, *address));
            self.by_address.remove(&(*address, key));
        }
        for (address, verdict) in now {
            if self.verdict(&key, address) != Some(&verdict) {
                changed.push(address);
                self.by_address.insert((address, key));
                self.verdicts.insert((key, address), verdict);
            }
        }
        changed
    }

    /// Whether an address of a child or its siblings is another machine's, which answers for it.
    pub(in crate::reconcile) fn is_caught(
        &self,
        facts: &Facts<'_>,
        claimants: &Claimants,
        nic_child: ChildKey,
    ) -> bool {
        claimants.with_siblings(nic_child).any(|key| {
            let Some(child) = facts.snapshot.children.get(&key) else { return false };
            self.of(&key).any(|(address, verdict)| {
                let held = verdict.code() == Some(Code::HeldOnLan);
                held && is_answered(facts, child.parent, address)
            })
        })
    }
}

/// The verdicts on the addresses of a child and its siblings. Together they have no more addresses than one
/// NIC may have, including those that the LAN is being asked about.
fn verdicts(
    facts: &Facts<'_>,
    claimants: &Claimants,
    nic_child: ChildKey,
) -> BTreeMap<ChildKey, BTreeMap<IpAddr, Verdict>> {
    let mut verdicts: BTreeMap<ChildKey, BTreeMap<IpAddr, Verdict>> = BTreeMap::new();
    let claims = claimants.with_siblings(nic_child).filter_map(|key| {
        let child = facts.snapshot.children.get(&key)?;
        let parent = facts.snapshot.links.get(&child.parent)?;
        Some((key, child, parent, claimants.claimant(facts, key, child)))
    });
    let claims: Vec<_> = claims.collect();
    let mut granted = Vec::new();
    for (key, child, parent, claimant) in &claims {
        for (address, state) in &child.addresses {
            let case = Case::new(facts, parent, child, claimant, *address, *state);
            let verdict = admit(&case);
            let waits = verdict.code() == Some(Code::Asking);
            if waits || verdict.source().is_some() {
                granted
                    .push((Precedence { waits, is_new: !case.is_held(), ip: case.address, key: *key }, case));
            }
            verdicts.entry(*key).or_default().insert(address.addr(), verdict);
        }
    }
    let max = facts.config.policy.max_addresses;
    if granted.len() > max {
        granted.sort_by_key(|(precedence, _)| *precedence);
        for (Precedence { ip, key, .. }, mut case) in granted.into_iter().skip(max) {
            case.others = Others::FillTheNic;
            verdicts.entry(key).or_default().insert(ip, admit(&case));
        }
    }
    verdicts
}

/// The order in which addresses of a NIC are served if it has more than its limit: those with a route first,
/// then those that it held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    /// The LAN is asked about it first.
    waits: bool,
    /// Our neighbour entry does not name the claimant.
    is_new: bool,
    ip: IpAddr,
    key: ChildKey,
}
