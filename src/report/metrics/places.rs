//! The values of parents, shims and the kernel's neighbour tables.

use super::families::{
    FILTER_ACTIVE, FILTER_DROPPED, PARENT_UP, SHIM_UP, TABLE_ENTRIES, TABLE_LIMIT, UNCLAIMED,
};
use super::sheet::Sheet;
use crate::model::Family;
use crate::model::status::{ParentState, ShimState, ShimStatus};
use crate::report::Report;

/// Adds the families.
pub(super) fn fill(sheet: &mut Sheet, report: &Report) {
    let (shims, unclaimed) = (&report.status.shims, &report.status.unclaimed);
    let parent_up = |shim: &ShimStatus| u64::from(shim.parent_state == ParentState::Up);
    sheet.add(PARENT_UP, shims.iter().map(|shim| ([shim.parent.as_str()], parent_up(shim))));
    let up = |shim: &ShimStatus| u64::from(shim.state == ShimState::Up);
    sheet.add(SHIM_UP, shims.iter().map(|shim| ([shim.name.as_str(), shim.parent.as_str()], up(shim))));
    sheet.add(FILTER_ACTIVE, shims.iter().map(|shim| ([shim.name.as_str()], u64::from(shim.filtered))));
    let dropped = report.figures.dropped.iter();
    let dropped = dropped.map(|(shim, it)| ([shim.as_str(), &it.direction, &it.rule], it.packets));
    sheet.add(FILTER_DROPPED, dropped);
    let alone = |shim: &ShimStatus| unclaimed.iter().filter(|it| it.shim == shim.name).map(|_| 1).sum();
    sheet.add(UNCLAIMED, shims.iter().map(|shim| ([shim.name.as_str()], alone(shim))));
    let tables = &report.figures.tables;
    sheet.add(TABLE_ENTRIES, tables.iter().map(|it| ([family(it.family)], it.counted().into())));
    sheet.add(TABLE_LIMIT, tables.iter().map(|it| ([family(it.family)], it.limit.into())));
}

/// The name of a family of addresses.
pub(super) fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}
