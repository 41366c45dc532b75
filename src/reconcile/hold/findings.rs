//! Everything that the rules say about one address, for those who want to know why.

use std::net::IpAddr;

use super::held::Held;
use crate::model::Code;
use crate::model::snapshot::ChildKey;
use crate::reconcile::admit::{Case, Others, Refusal, findings};
use crate::reconcile::facts::Facts;

impl Held {
    /// The child whose verdict on an address counts for a NIC and its siblings, given the NIC's child.
    pub fn judged(&self, nic_child: &ChildKey, address: IpAddr) -> Option<ChildKey> {
        let holder = self.holders.get(&address).map(|holder| holder.child);
        let claim = |child: &ChildKey| self.claims.verdict(child, address).is_some();
        let mut claiming: Vec<ChildKey> =
            self.claimants.with_siblings(*nic_child).filter(|child| claim(child)).collect();
        let holding = claiming.iter().copied().find(|child| Some(*child) == holder);
        holding.or_else(|| claiming.drain(..).next())
    }

    /// The answers of all rules about an address of a child, in their order.
    pub fn findings(
        &self,
        facts: &Facts<'_>,
        key: ChildKey,
        address: IpAddr,
    ) -> Vec<(Code, Option<Refusal>)> {
        let Some(child) = facts.snapshot.children.get(&key) else { return Vec::new() };
        let Some(parent) = facts.snapshot.links.get(&child.parent) else { return Vec::new() };
        let Some((own, state)) = child.addresses.iter().find(|(own, _)| own.addr() == address) else {
            return Vec::new();
        };
        let claimant = self.claimants.claimant(facts, key, child);
        let mut case = Case::new(facts, parent, child, &claimant, *own, *state);
        case.others = match self.claims.verdict(&key, address).and_then(|verdict| verdict.code()) {
            Some(Code::Limit) => Others::FillTheNic,
            _ => self.others(&key, address),
        };
        findings(&case).map(|(rule, refusal)| (rule.code, refusal)).collect()
    }
}
