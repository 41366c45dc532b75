//! The host's own firewall.

use std::net::IpAddr;

use crate::model::explanation::{ChainStep, ShimWay, StepName, StepState};

/// The judgement of the host's own firewall about packets from a guest's address through a shim.
pub(super) fn firewall(way: &ShimWay, address: IpAddr) -> ChainStep {
    let sentence = "this host's own firewall was not looked at";
    let step = ChainStep::new(StepName::Firewall, StepState::Unknown, sentence);
    step.evidence(format!("it must accept what comes in through {} from {address}", way.shim))
}
