//! The server lists the NIC as macvlan.

use super::cure;
use super::gathered::{Gathered, at_fault};
use crate::model::explanation::{ChainStep, StepName};
use crate::model::inventory::{Mode, NicParent};
use crate::model::{Code, explanation::Cure};
use crate::reconcile::Decision;

pub(super) fn step(gathered: &Gathered<'_, '_>) -> ChainStep {
    let (name, nic) = (StepName::Nic, &gathered.key.nic);
    if let Some(Decision::Unsupported(code @ Code::Vm, message)) = gathered.decision {
        let step = at_fault(name, *code, message);
        return match cure::of_code(*code) {
            Some(cure) => step.cure(cure),
            None => step,
        };
    }
    let Some(told) = gathered.told else {
        return ChainStep::good(name, format!("{nic} is a macvlan link in the guest's own namespace"));
    };
    match &told.parent {
        NicParent::Unknown(why) if has_no_parent(gathered) => {
            let step = at_fault(name, Code::NotSeen, format!("the parent of {nic} is not known: {why}"));
            let cure = Cure::of("correct the NIC, or the network that it names");
            step.cure(
                cure::by_client(gathered, "config show --expanded").map_or(cure.clone(), |it| cure.by(it)),
            )
        }
        NicParent::Unknown(why) => ChainStep::good(
            name,
            format!("{nic} is a macvlan NIC; the server does not tell its parent: {why}"),
        ),
        parent => {
            let mode =
                if told.mode == Mode::Bridge { String::new() } else { format!(", mode {}", told.mode) };
            ChainStep::good(name, format!("{nic} is a macvlan NIC on {parent}{mode}"))
        }
    }
}

/// The server's configuration does not tell the parent, and the kernel does not show the NIC.
pub(super) fn has_no_parent(gathered: &Gathered<'_, '_>) -> bool {
    let untold = gathered.told.is_some_and(|nic| matches!(nic.parent, NicParent::Unknown(_)));
    untold && gathered.seen.is_none()
}
