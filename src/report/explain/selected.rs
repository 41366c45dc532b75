//! Nothing leaves the guest out.

use super::cure;
use super::gathered::{Gathered, at_fault};
use crate::model::Code;
use crate::model::explanation::{ChainStep, Cure, StepName, StepState};
use crate::model::inventory::OptOut;
use crate::reconcile::Decision;

pub(super) fn step(gathered: &Gathered<'_, '_>) -> ChainStep {
    let name = StepName::Selected;
    match gathered.decision {
        Some(Decision::Unselected(code, message)) if *code != Code::HostIsSibling => {
            let step = at_fault(name, *code, message);
            let unset = cure::by_client_after(gathered, "config unset", "user.macvlan-shim.enabled");
            match (code, unset) {
                (Code::OptedOut, Some(command)) => {
                    let sentence = "if it should be served, unset the key, in the guest or in its profile";
                    step.cure(Cure::of(sentence).by(command))
                }
                _ => step.cure(Cure::of(code.cure())),
            }
        }
        _ => match gathered.guest.map(|guest| &guest.opt) {
            Some(OptOut::Invalid(value)) => {
                let message = format!(
                    "user.macvlan-shim.enabled is \"{value}\", neither true nor false; the guest takes part"
                );
                let step = ChainStep::new(name, StepState::Warning, message).reason(Code::InvalidOptOut);
                step.cure(Cure::of(Code::InvalidOptOut.cure()))
            }
            _ => ChainStep::good(name, "neither [select] nor user.macvlan-shim.enabled leaves it out"),
        },
    }
}
