//! The steps of one NIC in their order, and where the chain ends.

use std::net::IpAddr;

use super::gathered::Gathered;
use super::{address, child, cure, firewall, guest, neighbour, nic, parent, route, selected, server};
use crate::model::explanation::{ChainStep, ExplainedAddress, Explanation, ShimWay, StepName, StepState};
use crate::model::{Code, NicKey, Severity};
use crate::reconcile::Decision;
use crate::reconcile::admit::Verdict;
use crate::reconcile::select::NO_ADDRESS;
use crate::report::material::Material;
use crate::report::passage::Passage;

/// A function that judges a step.
type Judge = fn(&Gathered<'_, '_>) -> ChainStep;

/// The steps that all addresses share.
const SHARED: [(StepName, Judge); 5] = [
    (StepName::Server, server::step),
    (StepName::Nic, nic::step),
    (StepName::Selected, selected::step),
    (StepName::Parent, parent::step),
    (StepName::Child, child::step),
];

/// Explains a NIC, and of its addresses only the given one if there is one.
pub(super) fn explanation(material: &Material<'_>, key: NicKey, only: Option<IpAddr>) -> Explanation {
    let gathered = Gathered::of(material, key);
    let subject = match only {
        Some(address) => format!("{address} ({})", gathered.key),
        None => gathered.key.to_string(),
    };
    let end = end(&gathered);
    let shared = SHARED.iter().map(|(name, judge)| match end {
        Some(end) if *name > end => ChainStep::skipped(*name, end),
        _ => judge(&gathered),
    });
    let mut steps: Vec<ChainStep> = shared.collect();
    let addresses = addresses(&gathered, only, &steps);
    let (mut verdict, mut reached) = (String::new(), None);
    if addresses.is_empty() {
        (verdict, reached) = verdict_without_address(&gathered, &subject);
        let end = end.unwrap_or_else(|| {
            steps.push(no_address(&gathered));
            StepName::Address
        });
        let rest = StepName::ALL.into_iter().filter(|name| *name > end && *name >= StepName::Address);
        steps.extend(rest.map(|name| ChainStep::skipped(name, end)));
    }
    let NicKey { guest, nic } = gathered.key;
    let (guest, nic) = (Some(guest), Some(nic));
    Explanation {
        subject,
        guest,
        nic,
        address: only,
        verdict,
        reached,
        steps,
        addresses,
        history: Vec::new(),
    }
}

/// The step at which the chain ends, unless the NIC is served.
fn end(gathered: &Gathered<'_, '_>) -> Option<StepName> {
    match gathered.decision {
        Some(Decision::Served { .. }) => None,
        Some(Decision::Stopped) => Some(StepName::Server),
        Some(Decision::Unselected(Code::HostIsSibling, _)) => Some(StepName::Parent),
        Some(Decision::Unselected(..)) => Some(StepName::Selected),
        Some(Decision::Unsupported(Code::Vm, _)) => Some(StepName::Nic),
        Some(Decision::Unsupported(..)) => Some(StepName::Child),
        Some(Decision::Unseen(_)) if nic::has_no_parent(gathered) => Some(StepName::Nic),
        Some(Decision::Unseen(_)) if gathered.parent.is_none() => Some(StepName::Parent),
        Some(Decision::Unseen(_)) | None => Some(StepName::Child),
    }
}

fn verdict_without_address(gathered: &Gathered<'_, '_>, subject: &str) -> (String, Option<bool>) {
    match gathered.decision {
        Some(Decision::Stopped) => (format!("{subject} is not served: the guest is stopped"), None),
        Some(Decision::Unselected(_, message)) => (format!("{subject} is left out: {message}"), None),
        Some(Decision::Unsupported(code, message)) => {
            let reached = (code.severity() != Severity::Note).then_some(false);
            (format!("{subject} is not supported: {message}"), reached)
        }
        _ => (format!("{subject} and this host do NOT reach each other"), Some(false)),
    }
}

/// The kernel shows the NIC, and the NIC has no address.
fn no_address(gathered: &Gathered<'_, '_>) -> ChainStep {
    let step = ChainStep::new(StepName::Address, StepState::Bad, NO_ADDRESS).reason(Code::NoAddress);
    let look = cure::in_guest(gathered, "ip address".to_owned());
    match cure::of_code(Code::NoAddress) {
        Some(cure) => step.cure(look.into_iter().fold(cure, |cure, command| cure.by(command))),
        None => step,
    }
}

/// The parts of the chain that are about one address each.
fn addresses(
    gathered: &Gathered<'_, '_>,
    only: Option<IpAddr>,
    shared: &[ChainStep],
) -> Vec<ExplainedAddress> {
    let Some(Decision::Served { child, .. }) = gathered.decision else { return Vec::new() };
    let Some(passage) = gathered.passage() else { return Vec::new() };
    let verdicts = gathered.material.desired.held.verdicts(child);
    let sought = verdicts.filter(|(address, _)| only.is_none_or(|only| only == *address));
    let explained = sought.map(|(address, verdict)| {
        let holders = &gathered.material.desired.held.holders;
        let passage = passage.to(holders.get(&address).map_or(passage.mac, |holder| holder.mac));
        let step = address::step(gathered, *child, address, &verdict);
        match &*verdict {
            Verdict::Admitted { source } => {
                let guest = guest::step(Some(gathered), *source);
                admitted(&passage, (address, *source), step, shared, guest)
            }
            Verdict::Refused(refusal) => refused(address, step, refusal.code),
        }
    });
    explained.collect()
}

/// The steps of an admitted address.
pub(super) fn admitted(
    passage: &Passage<'_, '_>,
    (address, source): (IpAddr, IpAddr),
    step: ChainStep,
    shared: &[ChainStep],
    guest: ChainStep,
) -> ExplainedAddress {
    let rest = match shared.iter().find(|step| step.is_bad()) {
        Some(bad) => {
            let rest = [StepName::Route, StepName::Neighbour, StepName::Firewall, StepName::Guest];
            rest.map(|name| ChainStep::skipped(name, bad.name))
        }
        None => [
            route::step(passage, address, source),
            neighbour::step(passage, address),
            firewall::step(passage),
            guest,
        ],
    };
    let way = passage.shim.map(|shim| ShimWay {
        shim: shim.link.name.clone(),
        parent: shim.parent.clone(),
        source,
    });
    let steps = std::iter::once(step).chain(rest).collect();
    let mut explained = ExplainedAddress { address, reached: None, wanted: true, way, steps };
    explained.skip_after_bad();
    explained
}

fn refused(address: IpAddr, step: ChainStep, code: Code) -> ExplainedAddress {
    let rest = StepName::ALL.into_iter().filter(|name| *name > StepName::Address);
    let rest = rest.map(|name| ChainStep::skipped(name, StepName::Address));
    let steps = std::iter::once(step).chain(rest).collect();
    let wanted = code.severity() != Severity::Note;
    ExplainedAddress { address, reached: None, wanted, way: None, steps }
}
