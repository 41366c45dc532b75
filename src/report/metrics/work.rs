//! The numbers that are counted.

use super::families::{
    CONFLICTS, NETLINK_EVENTS, NETLINK_OVERRUNS, OPERATIONS, PROBES, REACTION, REPAIRS, RESYNCS,
};
use super::sheet::Sheet;
use crate::model::op_kind::OpObject;
use crate::model::tally::{LanAnswer, ResyncTrigger};
use crate::model::{OpKind, Tally};
use crate::report::conflicts::Conflict;

/// Adds the families.
pub(super) fn fill(sheet: &mut Sheet, tally: &Tally) {
    let operations = OpKind::ALL.iter().flat_map(|kind| {
        [(true, "ok"), (false, "failed")].map(|(result, name)| {
            let count = tally.operations.get(&(*kind, result)).copied().unwrap_or_default();
            ([kind.object.as_str(), kind.action.as_str(), name], count)
        })
    });
    sheet.add(OPERATIONS, operations);
    let repairs = OpObject::ALL.iter().map(|it| ([it.as_str()], of(tally.repairs.get(it))));
    sheet.add(REPAIRS, repairs);
    sheet.add(CONFLICTS, Conflict::CODES.map(|code| ([code.as_str()], of(tally.conflicts.get(&code)))));
    sheet.add(PROBES, LanAnswer::ALL.iter().map(|it| ([it.as_str()], of(tally.probes.get(it)))));
    sheet.add_histogram(REACTION, &tally.reactions);
    sheet.add(RESYNCS, ResyncTrigger::ALL.iter().map(|it| ([it.as_str()], of(tally.resyncs.get(it)))));
    sheet.add(NETLINK_EVENTS, [([], tally.netlink.events)]);
    sheet.add(NETLINK_OVERRUNS, [([], tally.netlink.overruns)]);
}

fn of(count: Option<&u64>) -> u64 {
    count.copied().unwrap_or_default()
}
