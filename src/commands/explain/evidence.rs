//! The steps that need a look at this moment: the kernel's way, the firewall, the guest's answer.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::firewall::HostFirewall;
use super::probe::{Probed, probe};
use crate::kernel;
use crate::model::explanation::{
    ChainStep, Cure, ExplainedAddress, Explanation, ShimWay, Sought, StepName, StepState,
};
use crate::model::found_way::FoundWay;

/// Maximum number of addresses that are asked for an answer.
const MOST: usize = 64;

/// Adds them to the explanations, and brings their verdicts up to date.
pub(super) fn add(explanations: &mut [Explanation], sought: &Sought) {
    let host = HostFirewall::default();
    for explanation in &mut *explanations {
        if let Sought::Address(address) = sought {
            tell_way(explanation, *address);
        }
        let is_bad = explanation.steps.iter().any(ChainStep::is_bad);
        for address in explanation.addresses.iter_mut().filter(|_| !is_bad) {
            route(address);
            judge_firewall(address, &host);
        }
    }
    let addresses = explanations.iter_mut().flat_map(|explanation| &mut explanation.addresses);
    let asked: Vec<&mut ExplainedAddress> = addresses.filter(|address| is_worth_asking(address)).collect();
    std::thread::scope(|scope| {
        for address in asked.into_iter().take(MOST) {
            scope.spawn(|| guest(address));
        }
    });
    for explanation in explanations {
        explanation.addresses.iter_mut().for_each(ExplainedAddress::skip_after_bad);
        explanation.conclude();
    }
}

/// The kernel's way to an address that no guest has.
fn tell_way(explanation: &mut Explanation, address: IpAddr) {
    let unknown = |step: &&mut ChainStep| step.name == StepName::Route && step.state == StepState::Unknown;
    if let Some(step) = explanation.steps.iter_mut().find(unknown)
        && let Ok(way) = kernel::way_to(address)
    {
        step.sentence = match way {
            FoundWay::None(why) => format!("this host has no way to it: {why}"),
            way => format!("this host's packets to it go {way}"),
        };
    }
}

/// Whether packets take the route that was made for them.
fn route(address: &mut ExplainedAddress) {
    let Some(ShimWay { shim, source, .. }) = &address.way else { return };
    let Some(step) = address.step(StepName::Route).filter(|step| step.state == StepState::Good) else {
        return;
    };
    let judged = match kernel::way_to(address.address) {
        Ok(way) if way.is(shim, *source) => {
            step.clone().evidence("the kernel agrees: no rule and no other route is in the way")
        }
        Ok(way) => {
            let sentence = format!("packets to it take another way: {way}");
            let cure = Cure::of("find the rule or the route that comes before ours");
            let cure = cure.by(format!("ip route get {}", address.address)).by("ip rule");
            let step = ChainStep::new(StepName::Route, StepState::Bad, sentence).cure(cure);
            step.evidence(format!("the route itself is there: dev {shim} src {source}"))
        }
        Err(error) => step.clone().evidence(error.message),
    };
    address.put(judged);
}

fn judge_firewall(address: &mut ExplainedAddress, host: &HostFirewall) {
    let is_open = address.step(StepName::Firewall).is_some_and(|step| step.state == StepState::Unknown);
    if let Some(way) = address.way.as_ref().filter(|_| is_open) {
        let judged = host.judge(way, address.address);
        address.put(judged);
    }
}

/// A guest is asked only if nothing is known that keeps the answer from coming.
fn is_worth_asking(address: &ExplainedAddress) -> bool {
    let is_open = |step: &ChainStep| step.state == StepState::Unknown;
    !address.steps.iter().any(ChainStep::is_bad) && address.step(StepName::Guest).is_some_and(is_open)
}

fn guest(address: &mut ExplainedAddress) {
    let Some(unasked) = address.step(StepName::Guest).cloned() else { return };
    let way = address.way.as_ref().map(|way| way.source);
    let judged = judge(probe(address.address), unasked.cure, way);
    address.put(judged);
}

/// The meaning of the answer. `cure` is for silence, and packets should come from `expected`.
fn judge(probed: Probed, cure: Option<Cure>, expected: Option<IpAddr>) -> ChainStep {
    let bad = |name, sentence: String| ChainStep::new(name, StepState::Bad, sentence);
    let with_cure = |step: ChainStep| ChainStep { cure: cure.clone(), ..step };
    match probed {
        Probed::Answered { after, source } => {
            let step = ChainStep::good(StepName::Guest, format!("it answered after {}", shown(after)));
            match source.filter(|source| Some(*source) != expected) {
                Some(source) => step.evidence(format!("it was asked from {source}")),
                None => step,
            }
        }
        Probed::Silent => {
            with_cure(bad(StepName::Guest, "it did not answer an echo request within 1 s".to_owned()))
                .evidence("route and neighbour entry are right, so look at the firewalls of host and guest")
        }
        Probed::Rejected(error) => {
            with_cure(bad(StepName::Guest, format!("an error came back instead of an answer: {error}")))
        }
        Probed::Unsent(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let step =
                bad(StepName::Firewall, format!("this host's own firewall lets nothing out to it: {error}"));
            step.cure(Cure::of("look at its chains for outgoing packets").by("nft list ruleset"))
        }
        Probed::Unsent(error) => ChainStep::new(
            StepName::Guest,
            StepState::Unknown,
            format!("this host could not ask it: {error}"),
        ),
    }
}

fn shown(after: Duration) -> String {
    format!("{:.1} ms", after.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(probed: Probed) -> (StepName, StepState) {
        let source = "10.0.0.1".parse().ok();
        let step = judge(probed, Some(Cure::of("ask the other way round")), source);
        assert!(step.cure.is_some() == step.is_bad(), "{step:?}");
        (step.name, step.state)
    }

    #[test]
    fn silence_and_errors_are_told_apart() {
        let error = io::Error::from;
        let (after, source) = (Duration::from_micros(300), None);
        assert_eq!(judged(Probed::Answered { after, source }), (StepName::Guest, StepState::Good));
        assert_eq!(judged(Probed::Silent), (StepName::Guest, StepState::Bad));
        let refused = error(io::ErrorKind::ConnectionRefused);
        assert_eq!(judged(Probed::Rejected(refused)), (StepName::Guest, StepState::Bad));
        let denied = error(io::ErrorKind::PermissionDenied);
        assert_eq!(judged(Probed::Unsent(denied)), (StepName::Firewall, StepState::Bad));
        let other = error(io::ErrorKind::OutOfMemory);
        assert_eq!(judged(Probed::Unsent(other)), (StepName::Guest, StepState::Unknown));
    }

    #[test]
    fn an_answer_is_told_with_its_time_and_an_unexpected_source() {
        let after = Duration::from_micros(340);
        let source = "10.0.0.7".parse().ok();
        let step = judge(Probed::Answered { after, source }, None, "10.0.0.1".parse().ok());
        assert_eq!(step.sentence, "it answered after 0.3 ms");
        assert_eq!(step.evidence, ["it was asked from 10.0.0.7"]);
    }

    /// No route to this machine's own addresses leads through a shim.
    #[test]
    fn another_way_than_the_routes_is_the_fault() {
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        let way = Some(ShimWay { shim: "mvs-eth0".into(), parent: "eth0".into(), source: own });
        let steps = vec![
            ChainStep::good(StepName::Route, "127.0.0.1 dev mvs-eth0"),
            ChainStep::new(StepName::Guest, StepState::Unknown, "it was not asked"),
        ];
        let address = ExplainedAddress { address: own, reached: Some(true), wanted: true, way, steps };
        let mut explanation = Explanation {
            subject: "lxd:web eth0".to_owned(),
            reached: Some(true),
            addresses: vec![address],
            ..Explanation::default()
        };
        add(std::slice::from_mut(&mut explanation), &Sought::Name("web".to_owned()));
        let address = &explanation.addresses[0];
        let route = address.step(StepName::Route).unwrap();
        assert_eq!(route.sentence, "packets to it take another way: dev lo src 127.0.0.1");
        assert_eq!(address.step(StepName::Guest).unwrap().sentence, "depends on 7 (route)");
        assert_eq!((address.reached, explanation.reached), (Some(false), Some(false)));
        assert_eq!(explanation.verdict, "lxd:web eth0 and this host do NOT reach each other");
    }
}
