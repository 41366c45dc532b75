//! The parent exists, carries frames and has a shim.

use super::cure;
use super::gathered::{Gathered, at_fault};
use crate::model::Code;
use crate::model::explanation::{ChainStep, Cure, StepName, StepState};
use crate::model::snapshot::Link;
use crate::model::status::Problem;
use crate::reconcile::Decision;
use crate::reconcile::shims::DesiredShim;

pub(super) fn step(gathered: &Gathered<'_, '_>) -> ChainStep {
    let name = StepName::Parent;
    if let Some(Decision::Unselected(code @ Code::HostIsSibling, message)) = gathered.decision {
        return at_fault(name, *code, message);
    }
    let Some(parent) = gathered.parent else {
        let message = match gathered.decision {
            Some(Decision::Unseen(message)) => message.as_str(),
            _ => "its parent does not exist on this host",
        };
        let cure =
            Cure::of("correct the NIC's parent; this lists the interfaces of this host").by("ip -br link");
        return at_fault(name, Code::NotSeen, message).cure(cure);
    };
    let Some(passage) = gathered.passage() else { return ChainStep::good(name, state_of(gathered, parent)) };
    if let Some((code, message)) = passage.blocked() {
        let step = ChainStep::new(name, StepState::Bad, message).reason(code);
        let cure = match code {
            Code::ParentDown => Some(Cure::of("set it up").by(format!("ip link set {} up", parent.name))),
            code => cure_of_parent(gathered, parent, code),
        };
        return Some(step.clone()).zip(cure).map_or(step, |(step, cure)| step.cure(cure));
    }
    let Some(shim) = passage.shim else { return not_made(gathered, parent, None) };
    if let Some((code, message)) = passage.unready() {
        return match code {
            Code::Pending => not_made(gathered, parent, Some(shim)),
            code => {
                let cure = cure::of_failure(gathered.material.failure_of_shim(&shim.link.name));
                ChainStep::new(name, StepState::Bad, message).reason(code).cure(cure)
            }
        };
    }
    let step = ChainStep::good(name, state_of(gathered, parent)).evidence(filter_of(gathered, shim));
    match problem_of(gathered, parent, shim) {
        Some(problem) => {
            let (state, reason) = (StepState::Warning, Some(problem.code.clone()));
            let step = ChainStep { state, reason, ..step }.evidence(problem.message.clone());
            step.cure(cure::of_hint(&problem.hint))
        }
        None => step,
    }
}

/// A problem of the parent or of its shim that does not keep routes from being made, such as `arp-ignore`.
fn problem_of<'a>(gathered: &Gathered<'_, 'a>, parent: &Link, shim: &DesiredShim) -> Option<&'a Problem> {
    let names = [parent.name.as_str(), shim.link.name.as_str()];
    gathered.material.desired.problems.iter().find(|problem| names.contains(&problem.object.as_str()))
}

/// The shim is still to be made, or to be set up.
fn not_made(gathered: &Gathered<'_, '_>, parent: &Link, shim: Option<&DesiredShim>) -> ChainStep {
    let message = match shim {
        Some(shim) if shim.link.index.is_some() => format!("its shim {} is not up yet", shim.link.name),
        Some(shim) => format!("its shim {} does not exist yet", shim.link.name),
        None => format!("{} has no shim yet", parent.name),
    };
    let step = ChainStep::new(StepName::Parent, StepState::Bad, message).reason(Code::Pending);
    step.cure(cure::of_waiting(gathered.material))
}

fn state_of(gathered: &Gathered<'_, '_>, parent: &Link) -> String {
    let name = &parent.name;
    let state = match parent.outage() {
        Some((_, message)) => message,
        None => format!("{name} is up, has carrier"),
    };
    let addresses = gathered.material.host_addresses(parent.index);
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    match addresses.as_slice() {
        [] => format!("{state} and no address of this host"),
        addresses => format!("{state} and {}", addresses.join(", ")),
    }
}

fn filter_of(gathered: &Gathered<'_, '_>, shim: &DesiredShim) -> String {
    let filter = &gathered.material.snapshot.filter;
    let stands = shim.link.index.and_then(|index| filter.shims.get(&index)).is_some_and(|it| it.whole);
    let on = if filter.usable && stands { "on" } else { "off" };
    format!("its shim {} is up, and its filter is {on}", shim.link.name)
}

/// The cure that `status` shows with the problem of the parent.
fn cure_of_parent(gathered: &Gathered<'_, '_>, parent: &Link, code: Code) -> Option<Cure> {
    let mut problems = gathered.material.desired.problems.iter();
    let problem = problems.find(|it| it.object == parent.name.as_str() && it.code == code.as_str());
    problem.map(|problem| cure::of_hint(&problem.hint))
}
