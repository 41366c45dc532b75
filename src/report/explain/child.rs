//! The kernel shows the NIC as a child of the parent.

use super::cure;
use super::gathered::{Gathered, at_fault};
use crate::model::Code;
use crate::model::explanation::{ChainStep, StepName};
use crate::reconcile::Decision;

pub(super) fn step(gathered: &Gathered<'_, '_>) -> ChainStep {
    let name = StepName::Child;
    let fault = |code: Code, message: &str| {
        let step = at_fault(name, code, message);
        match cure::of_code(code) {
            Some(cure) => step.cure(cure),
            None => step,
        }
    };
    let step = match (gathered.decision, gathered.seen) {
        (Some(Decision::Unsupported(code, message)), _) => fault(*code, message),
        (Some(Decision::Unseen(message)), _) => fault(Code::NotSeen, message),
        (_, None) => fault(Code::NotSeen, "the kernel shows no macvlan link of it"),
        (_, Some((key, child))) => {
            let parent = gathered.parent.map_or("?", |link| link.name.as_str());
            let place = format!("{} on {parent} in {}", child.name, key.netns);
            let down = if child.up { "" } else { ", down" };
            ChainStep::good(name, format!("{place}: {}, mode {}{down}", child.mac, child.mode))
        }
    };
    let joined = gathered.seen.and_then(|(key, _)| gathered.material.memory.joins.joined(&key));
    match joined {
        Some(joined) => step.evidence(joined.by.to_string()),
        None => step,
    }
}
