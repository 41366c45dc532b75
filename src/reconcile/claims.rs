//! Who claims which address, and who holds it.
//!
//! A child claims the addresses that it has. The verdict on each claim stands on that child alone; where several
//! claims to an address are admitted, one child holds it. So one address is settled without a look at others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::admit::{Reason, Verdict, admit, is_answered};
use super::desired::Host;
use super::ground::Ground;
use crate::model::NicKey;
use crate::model::snapshot::{Child, ChildKey};

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parties {
    /// The NICs that are served, by their child.
    pub served: BTreeMap<ChildKey, NicKey>,
    /// The children that no server vouches for. They may keep what they hold, and claim nothing new.
    pub orphans: BTreeSet<ChildKey>,
    /// The parents on which no shim can stand, by ifindex: nobody can hold anything there.
    pub blocked: BTreeSet<u32>,
}

/// The claims of all children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    verdicts: BTreeMap<ChildKey, BTreeMap<IpAddr, Verdict>>,
    /// The same, by address.
    claimants: BTreeSet<(IpAddr, ChildKey)>,
}

impl Claims {
    /// The verdicts on a child's addresses by the rules that concern it alone.
    pub fn of(&self, child: &ChildKey) -> impl Iterator<Item = (IpAddr, &Verdict)> {
        self.verdicts.get(child).into_iter().flatten().map(|(address, verdict)| (*address, verdict))
    }

    /// The verdict on one of them.
    pub fn verdict(&self, child: &ChildKey, address: IpAddr) -> Option<&Verdict> {
        self.verdicts.get(child)?.get(&address)
    }

    /// The children that claim an address.
    pub fn claimants(&self, address: IpAddr) -> impl Iterator<Item = &ChildKey> {
        let all = (address, ChildKey::FIRST)..=(address, ChildKey::LAST);
        self.claimants.range(all).map(|(_, child)| child)
    }

    /// The claimed addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let mut last = None;
        self.claimants
            .iter()
            .map(|(address, _)| *address)
            .filter(move |address| last.replace(*address) != Some(*address))
    }

    /// Weighs the claims of a child as it is now. Returns the addresses on which the verdict is another than before.
    pub(super) fn weigh(&mut self, ground: &Ground<'_>, key: ChildKey) -> Vec<IpAddr> {
        let now =
            ground.snapshot.children.get(&key).map(|child| verdicts(ground, key, child)).unwrap_or_default();
        let before = self.verdicts.remove(&key).unwrap_or_default();
        let gone = before.keys().filter(|address| !now.contains_key(address));
        let other = now.iter().filter(|(address, verdict)| before.get(address) != Some(verdict));
        let changed = gone.chain(other.map(|(address, _)| address)).copied().collect();
        for address in before.keys().filter(|address| !now.contains_key(address)) {
            self.claimants.remove(&(*address, key));
        }
        self.claimants.extend(
            now.keys().filter(|address| !before.contains_key(address)).map(|address| (*address, key)),
        );
        if !now.is_empty() {
            self.verdicts.insert(key, now);
        }
        changed
    }

    /// An address of the child is another machine's, which answers for it.
    pub(super) fn is_caught(&self, ground: &Ground<'_>, key: &ChildKey) -> bool {
        let Some(child) = ground.snapshot.children.get(key) else { return false };
        self.of(key).any(|(address, verdict)| {
            let held = matches!(verdict, Verdict::Refused(refusal) if refusal.reason == Reason::HeldOnLan);
            held && is_answered(ground, child.parent, child.mac, address)
        })
    }

    /// Who holds an address: of all whose claims are admitted the one that our neighbour entry names, there where it
    /// is now, else on another parent. Where there is no holder yet, it is the first in the order of keys.
    pub(super) fn holder(&self, ground: &Ground<'_>, parties: &Parties, address: IpAddr) -> Option<Host> {
        let claim = |key: &ChildKey| {
            let source = self.verdicts.get(key)?.get(&address)?.source()?;
            let child = ground.snapshot.children.get(key)?;
            let (parent, mac, nic) = (child.parent, child.mac, parties.served.get(key));
            let holds = ground.holds(parent, mac, address);
            if nic.is_none() && !(holds && parties.orphans.contains(key)) {
                return None;
            }
            let elsewhere = !holds && !ground.holds_anywhere(mac, address);
            let rank =
                (parties.blocked.contains(&parent), !holds, elsewhere, nic.is_none(), nic, parent, mac, *key);
            Some((rank, Host { child: *key, parent, mac, source, nic: nic.cloned() }))
        };
        self.claimants(address).filter_map(claim).min_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, host)| host)
    }
}

fn verdicts(ground: &Ground<'_>, key: ChildKey, child: &Child) -> BTreeMap<IpAddr, Verdict> {
    let Some(parent) = ground.snapshot.links.get(&child.parent) else { return BTreeMap::new() };
    let distrusted = ground.facts.distrusted.contains(&key);
    let mut verdicts: BTreeMap<IpAddr, Verdict> = BTreeMap::new();
    for (address, state) in &child.addresses {
        verdicts.insert(address.addr(), admit(ground, parent, child, *address, *state, distrusted));
    }
    let max = ground.config.policy.max_addresses;
    let mut admitted: Vec<IpAddr> =
        verdicts.iter().filter(|(_, verdict)| verdict.source().is_some()).map(|(ip, _)| *ip).collect();
    if admitted.len() > max {
        admitted.sort_by_key(|ip| (!ground.holds(child.parent, child.mac, *ip), *ip));
        for ip in admitted.into_iter().skip(max) {
            let message = format!("this NIC has {max} addresses routed already (policy.max_addresses)");
            verdicts.insert(ip, Verdict::refused(Reason::Limit, message));
        }
    }
    verdicts
}
