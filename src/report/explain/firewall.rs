//! Neither the shim's filter nor the host's own firewall drops the packets.

use super::cure;
use crate::model::explanation::{ChainStep, StepName, StepState};
use crate::report::passage::Passage;

/// The shim's own filter. The host's firewall is not the daemon's: the command looks at it.
pub(super) fn step(passage: &Passage<'_, '_>) -> ChainStep {
    let name = StepName::Firewall;
    match passage.filtered() {
        Some((code, message)) => {
            let step = ChainStep::new(name, StepState::Bad, message).reason(code);
            step.cure(cure::of_failure(None))
        }
        None => ChainStep::new(name, StepState::Unknown, "this host's own firewall was not looked at"),
    }
}
