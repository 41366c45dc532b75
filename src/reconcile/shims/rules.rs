//! The policy rules that lead to our own table.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::shim::DesiredShim;
use crate::model::{Family, LinkIndex};
use crate::reconcile::facts::Facts;
use crate::reconcile::hold::Holder;

/// The rules that must exist: those of families in which a route uses our own table.
pub(in crate::reconcile) fn rules(
    facts: &Facts<'_>,
    shims: &BTreeMap<LinkIndex, DesiredShim>,
    holders: &BTreeMap<IpAddr, Holder>,
) -> BTreeMap<Family, u32> {
    let stands = |parent| shims.get(parent).is_some_and(|shim: &DesiredShim| shim.obstacle.is_none());
    let is_used = |family: Family| {
        let ranges =
            shims.values().filter(|shim| shim.obstacle.is_none()).flat_map(|shim| shim.ranges.keys());
        let mut holders = holders
            .iter()
            .filter(|(address, holder)| Family::of(**address) == family && stands(&holder.parent));
        ranges.map(|range| Family::of(*range)).any(|of| of == family) || holders.next().is_some()
    };
    let needed = |family| Some((family, facts.rule(family)?));
    Family::ALL.into_iter().filter_map(needed).filter(|(family, _)| is_used(*family)).collect()
}
