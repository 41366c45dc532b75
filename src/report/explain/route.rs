//! There is a route to the address.

use std::net::IpAddr;

use super::cure;
use crate::model::explanation::{ChainStep, StepName, StepState};
use crate::model::names::{PROTOCOL, TABLE_MAIN};
use crate::model::{Code, Family};
use crate::report::passage::Passage;

pub(super) fn step(passage: &Passage<'_, '_>, address: IpAddr, source: IpAddr) -> ChainStep {
    let name = StepName::Route;
    let Some(shim) = passage.shim else { return waits(passage, name, "there is no route yet") };
    match passage.unrouted(address, source) {
        None => {
            let table = shim.tables[Family::of(address)];
            let table = if table == TABLE_MAIN { String::new() } else { format!(" table {table}") };
            let line = format!("{address} dev {} proto {PROTOCOL} src {source}{table}", shim.link.name);
            ChainStep::good(name, line)
        }
        Some((Code::Pending, _)) => waits(passage, name, "there is no route yet"),
        Some((code, message)) => failed(passage, name, address, code, message),
    }
}

/// An object that is about to be made.
pub(super) fn waits(passage: &Passage<'_, '_>, name: StepName, sentence: &str) -> ChainStep {
    let step = ChainStep::new(name, StepState::Bad, sentence).reason(Code::Pending);
    step.cure(cure::of_waiting(passage.material))
}

/// An object that could not be made.
pub(super) fn failed(
    passage: &Passage<'_, '_>,
    name: StepName,
    address: IpAddr,
    code: Code,
    message: String,
) -> ChainStep {
    let shim = passage.shim.map_or("", |shim| shim.link.name.as_str());
    let failure = passage.material.failure_of_address(shim, address);
    let failure = failure.or_else(|| passage.material.failure_of_shim(shim));
    ChainStep::new(name, StepState::Bad, message).reason(code).cure(cure::of_failure(failure))
}
