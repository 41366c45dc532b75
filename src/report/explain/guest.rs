//! The guest answers.

use std::net::IpAddr;

use super::cure;
use super::gathered::Gathered;
use crate::model::explanation::{ChainStep, Cure, StepName, StepState};

/// The daemon asks no guest. The command does, and shows this cure if there is no answer.
pub(super) fn step(gathered: Option<&Gathered<'_, '_>>, source: IpAddr) -> ChainStep {
    let step = ChainStep::new(StepName::Guest, StepState::Unknown, "it was not asked");
    let command = gathered.and_then(|gathered| cure::in_guest(gathered, format!("ping -c 1 {source}")));
    let sentence = "see whether the guest reaches this host, and look at the firewalls of both";
    step.cure(command.map_or(Cure::of(sentence), |command| Cure::of(sentence).by(command)))
}
