//! The values of guests, their NICs and addresses.

use std::collections::BTreeMap;

use super::daemon::servers;
use super::families::{
    ADDRESSES, GUESTS_REACHED, GUESTS_WANTED, NIC_REACHABLE, NICS, NICS_LEFT_OUT, REFUSED,
};
use super::places::family;
use super::sheet::Sheet;
use crate::model::code::Topic;
use crate::model::status::{AddressState, AddressStatus, GuestStatus, NicState, NicStatus};
use crate::model::{Code, Family};
use crate::report::Report;
use crate::report::summary::is_wanted;

/// Maximum number of NICs with series of their own. A Prometheus server takes that from one target with ease,
/// and a node has hardly ever as many guests.
pub(super) const MOST: usize = 2000;

/// The states of a NIC.
pub(super) const NIC_STATES: [NicState; 7] = [
    NicState::Reachable,
    NicState::Waiting,
    NicState::Refused,
    NicState::Failed,
    NicState::Stopped,
    NicState::Unselected,
    NicState::Unsupported,
];

/// The states of an address.
pub(super) const ADDRESS_STATES: [AddressState; 3] =
    [AddressState::Routed, AddressState::Refused, AddressState::Failed];

/// Adds the families.
pub(super) fn fill(sheet: &mut Sheet, report: &Report) {
    let (status, counts) = (&report.status, report.status.counts);
    sheet.add(GUESTS_WANTED, [([], counts.wanted as u64)]);
    sheet.add(GUESTS_REACHED, [([], counts.reached as u64)]);
    let nics = || status.guests.iter().flat_map(|guest| guest.nics.iter().map(move |nic| (guest, nic)));
    let in_state = |server: &str, state: NicState| {
        nics().filter(|(guest, nic)| guest.server == server && nic.state == state).map(|_| 1).sum()
    };
    let by_state = servers(report).flat_map(|server| {
        NIC_STATES.map(|state| ([server.id.as_str(), state.as_str()], in_state(&server.id, state)))
    });
    sheet.add(NICS, by_state);
    one_by_one(sheet, report, nics().filter(|(_, nic)| is_wanted(nic)));
    addresses(sheet, nics().flat_map(|(_, nic)| &nic.addresses));
}

/// Each NIC, if the configuration wants it.
fn one_by_one<'a>(
    sheet: &mut Sheet,
    report: &Report,
    wanted: impl Iterator<Item = (&'a GuestStatus, &'a NicStatus)>,
) {
    let figures = &report.figures;
    let is_self_named =
        |guest: &GuestStatus| !figures.self_named.is_empty() && figures.self_named.contains(&guest.key());
    let (mut shown, mut left_out) = (Vec::new(), 0);
    for (guest, nic) in wanted {
        if !figures.per_guest || shown.len() >= MOST || is_self_named(guest) {
            left_out += 1;
            continue;
        }
        let labels =
            [&guest.server, &guest.project, &guest.name, &nic.name, &nic.parent].map(|it| it.as_str());
        shown.push((labels, u64::from(nic.state == NicState::Reachable)));
    }
    sheet.add(NIC_REACHABLE, shown);
    sheet.add(NICS_LEFT_OUT, [([], left_out)]);
}

fn addresses<'a>(sheet: &mut Sheet, all: impl Iterator<Item = &'a AddressStatus>) {
    let mut by_state = BTreeMap::new();
    for family in Family::ALL {
        by_state.extend(ADDRESS_STATES.map(|state| ((state.as_str(), family), 0)));
    }
    let refusals = Code::ALL.iter().filter(|code| code.topic() == Topic::Refused);
    let mut by_reason: BTreeMap<&'static str, u64> = refusals.map(|code| (code.as_str(), 0)).collect();
    for address in all {
        *by_state.entry((address.state.as_str(), Family::of(address.address))).or_default() += 1;
        let reason = address.reason.as_deref().filter(|_| address.state == AddressState::Refused);
        if let Some(count) = reason.and_then(|reason| by_reason.get_mut(reason)) {
            *count += 1;
        }
    }
    sheet.add(ADDRESSES, by_state.into_iter().map(|((state, its), count)| ([state, family(its)], count)));
    sheet.add(REFUSED, by_reason.into_iter().map(|(reason, count)| ([reason], count)));
}
