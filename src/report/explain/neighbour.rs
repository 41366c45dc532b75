//! The neighbour entry names the guest's MAC.

use std::net::IpAddr;

use super::route::{failed, waits};
use crate::model::Code;
use crate::model::explanation::{ChainStep, StepName};
use crate::report::passage::Passage;

pub(super) fn step(passage: &Passage<'_, '_>, address: IpAddr) -> ChainStep {
    let name = StepName::Neighbour;
    let shim = passage.shim.map_or("?", |shim| shim.link.name.as_str());
    match passage.unknown(address) {
        None => ChainStep::good(name, format!("{address} lladdr {} PERMANENT on {shim}", passage.mac)),
        Some((Code::Pending, _)) => waits(passage, name, "there is no neighbour entry yet"),
        Some((code, message)) => failed(passage, name, address, code, message),
    }
}
