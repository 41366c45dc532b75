//! Routes that still exist although the NIC has given up the address. They wait for a breath, and meanwhile
//! count towards the limit of the NIC (`policy.max_addresses`). Beyond that the oldest go at once, before
//! anything is added.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::held::Held;
use super::tenure::Tenure;
use crate::model::LinkIndex;
use crate::model::names::{TABLE, TABLE_MAIN};
use crate::model::snapshot::{ChildKey, Link, RouteKey};
use crate::reconcile::facts::Facts;

/// The routes that still exist although their NIC has given up the address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leftovers {
    /// Their addresses, each with the child that stands for its NIC.
    of: BTreeMap<IpAddr, ChildKey>,
    /// The same, by child.
    by: BTreeMap<ChildKey, BTreeSet<IpAddr>>,
    /// Those that must go at once.
    surplus: BTreeSet<IpAddr>,
}

impl Leftovers {
    /// The addresses whose routes must go at once.
    pub fn surplus(&self) -> &BTreeSet<IpAddr> {
        &self.surplus
    }

    /// Takes in the NIC whose leftover the route to an address is. Returns the former one.
    fn enter(&mut self, address: IpAddr, nic_child: Option<ChildKey>) -> Option<ChildKey> {
        let before = match nic_child {
            Some(nic_child) => self.of.insert(address, nic_child),
            None => self.of.remove(&address),
        };
        if let Some(its) = before.and_then(|before| self.by.get_mut(&before)) {
            its.remove(&address);
        }
        if before.is_some() && nic_child.is_none() {
            self.surplus.remove(&address);
        }
        if let Some(nic_child) = nic_child {
            self.by.entry(nic_child).or_default().insert(address);
        }
        before
    }

    /// Looks at all routes.
    pub(super) fn find_all(facts: &Facts<'_>, held: &Held, tenure: &Tenure) -> Leftovers {
        let ours = facts.snapshot.routes.iter().filter(|(_, route)| route.ours);
        let addresses: BTreeSet<IpAddr> = ours.filter_map(|(key, _)| key.host()).collect();
        let mut leftovers = Leftovers::default();
        leftovers.find(facts, held, tenure, &addresses, BTreeSet::new());
        leftovers
    }

    /// Looks at the routes to these addresses, which have changed hands between these NICs, each named by its
    /// child. Returns the addresses whose routes must now go at another time than before.
    pub(in crate::reconcile) fn find(
        &mut self,
        facts: &Facts<'_>,
        held: &Held,
        tenure: &Tenure,
        addresses: &BTreeSet<IpAddr>,
        mut nic_children: BTreeSet<ChildKey>,
    ) -> BTreeSet<IpAddr> {
        for address in addresses {
            let nic_child = whose(facts, held, *address);
            let before = self.enter(*address, nic_child);
            nic_children.extend(nic_child.into_iter().chain(before));
        }
        nic_children
            .into_iter()
            .flat_map(|nic_child| self.make_room(facts, held, tenure, nic_child))
            .collect()
    }

    /// If a NIC has more routes than its limit, the surplus leftovers must go at once, the oldest first.
    /// Returns those for which this has changed.
    fn make_room(
        &mut self,
        facts: &Facts<'_>,
        held: &Held,
        tenure: &Tenure,
        nic_child: ChildKey,
    ) -> BTreeSet<IpAddr> {
        let Some(its) = self.by.get(&nic_child) else { return BTreeSet::new() };
        let count = |child: ChildKey| {
            let its = held.claims.of(&child).map(|(address, _)| address);
            its.filter(|address| held.holders.get(address).is_some_and(|holder| holder.child == child))
                .count()
        };
        let routed: usize = held.claimants.with_siblings(nic_child).map(count).sum();
        let too_many = (routed + its.len()).saturating_sub(facts.config.policy.max_addresses).min(its.len());
        let mut by_age: Vec<(Option<Instant>, IpAddr)> =
            its.iter().map(|address| (tenure.lost(*address), *address)).collect();
        by_age.sort();
        let surplus: BTreeSet<IpAddr> = by_age[..too_many].iter().map(|(_, address)| *address).collect();
        let before: BTreeSet<IpAddr> = its.intersection(&self.surplus).copied().collect();
        let changed = before.symmetric_difference(&surplus).copied().collect();
        if its.is_empty() {
            self.by.remove(&nic_child);
        }
        for address in &changed {
            match surplus.contains(address) {
                true => self.surplus.insert(*address),
                false => self.surplus.remove(address),
            };
        }
        changed
    }
}

/// The child that stands for the NIC whose leftover the route to an address is, if it is one.
fn whose(facts: &Facts<'_>, held: &Held, address: IpAddr) -> Option<ChildKey> {
    let (snapshot, host) = (facts.snapshot, IpNet::from(address));
    let is_range = || facts.config.parents.values().any(|parent| parent.routes.contains(&host));
    if held.holders.contains_key(&address) || is_range() {
        return None;
    }
    let key = |table, metric, link| RouteKey { table, destination: host, metric, link };
    let all =
        |table| snapshot.routes.range(key(table, 0, LinkIndex::NONE)..=key(table, u32::MAX, LinkIndex::LAST));
    let ours = [TABLE, TABLE_MAIN].into_iter().flat_map(all).filter(|(_, route)| route.ours);
    ours.map(|(key, _)| key.link).find_map(|link| {
        let parent = snapshot.links.get(&link).and_then(Link::shim_parent)?;
        let mac = snapshot.neighbours.get(&(address, link))?.mac?;
        let mut children = facts.host.children_at(mac);
        let child =
            children.find(|key| snapshot.children.get(key).is_some_and(|child| child.parent == parent))?;
        Some(held.claimants.nic_child(*child))
    })
}
