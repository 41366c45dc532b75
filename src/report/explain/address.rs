//! The address is admitted.

use std::net::IpAddr;

use ipnet::IpNet;

use super::cure;
use super::gathered::{Gathered, at_fault};
use crate::model::explanation::{ChainStep, Cure, RuleAnswer, StepName};
use crate::model::names::TABLE_MAIN;
use crate::model::snapshot::{ChildKey, Neighbour, NeighbourState};
use crate::model::{Code, Family};
use crate::reconcile::admit::{Refusal, Verdict};
use crate::reconcile::hold::tenure::Contest;

pub(super) fn step(
    gathered: &Gathered<'_, '_>,
    nic_child: ChildKey,
    address: IpAddr,
    verdict: &Verdict,
) -> ChainStep {
    let mut step = match verdict {
        Verdict::Refused(refusal) => refused(gathered, nic_child, address, refusal),
        Verdict::Admitted { .. } => {
            let place = place(gathered, address);
            let step = ChainStep::good(StepName::Address, format!("{address} is admitted{place}"));
            let lan = on_lan(gathered, address);
            contest(gathered, address).into_iter().fold(step.evidence(lan), ChainStep::evidence)
        }
    };
    step.rules = rules(gathered, nic_child, address);
    step
}

/// Every rule and its answer.
fn rules(gathered: &Gathered<'_, '_>, nic_child: ChildKey, address: IpAddr) -> Vec<RuleAnswer> {
    let held = &gathered.material.desired.held;
    let Some(child) = held.judged(&nic_child, address) else { return Vec::new() };
    let findings = held.findings(&gathered.facts, child, address).into_iter();
    let answer = |(code, refusal): (Code, Option<Refusal>)| RuleAnswer {
        code: code.to_string(),
        refusal: refusal.map(|refusal| refusal.message),
    };
    findings.map(answer).collect()
}

/// The network that it lies in.
fn place(gathered: &Gathered<'_, '_>, address: IpAddr) -> String {
    let Some(parent) = gathered.parent else { return String::new() };
    let networks = gathered.facts.networks(parent).filter(|net| net.contains(&address));
    match networks.max_by_key(IpNet::prefix_len) {
        Some(network) => format!(": it is in {network} of {}", parent.name),
        None => String::new(),
    }
}

/// The LAN's other machines, as far as the kernel knows them.
fn on_lan(gathered: &Gathered<'_, '_>, address: IpAddr) -> String {
    let entry = gathered.material.snapshot.neighbours.get(&(address, gathered.parent_index()));
    match entry.is_some_and(Neighbour::is_nobodys) {
        true => "the LAN was asked, and no other machine answered".to_owned(),
        false => "no other machine is known to have it".to_owned(),
    }
}

/// Others that claim it as well.
fn contest(gathered: &Gathered<'_, '_>, address: IpAddr) -> Option<String> {
    let Some(Contest::Shared { others }) = gathered.material.desired.held.contests.get(&address) else {
        return None;
    };
    let others: Vec<String> = others.iter().take(3).map(ToString::to_string).collect();
    Some(format!("also claimed by {}", others.join(", ")))
}

fn refused(
    gathered: &Gathered<'_, '_>,
    nic_child: ChildKey,
    address: IpAddr,
    Refusal { code, message, hint, .. }: &Refusal,
) -> ChainStep {
    let sentence = match message.starts_with(&format!("{address} ")) {
        true => format!("refused: {message}"),
        false => format!("{address} is refused: {message}"),
    };
    let step = at_fault(StepName::Address, *code, sentence);
    let step = evidence(gathered, *code, address).into_iter().fold(step, ChainStep::evidence);
    let cure = match code {
        Code::NextHop
        | Code::HostAddress
        | Code::ClusterMember
        | Code::NetworkAddress
        | Code::BroadcastAddress
        | Code::HeldOnLan
        | Code::Held
        | Code::Duplicate => taken_away(gathered, nic_child, address),
        Code::LinkDown => {
            in_guest(gathered, "set it up in the guest", |link| format!("ip link set {link} up"))
        }
        _ => None,
    };
    let hint = hint.as_deref().map(cure::of_hint);
    match hint.or(cure).or_else(|| cure::of_code(*code)) {
        Some(cure) => step.cure(cure),
        None => step,
    }
}

/// The guest loses the address.
fn taken_away(gathered: &Gathered<'_, '_>, nic_child: ChildKey, address: IpAddr) -> Option<Cure> {
    let child = gathered.material.desired.held.judged(&nic_child, address)?;
    let child = gathered.material.snapshot.children.get(&child)?;
    let own = child.addresses.keys().find(|own| own.addr() == address)?;
    in_guest(gathered, "take the address from the guest", |link| format!("ip address del {own} dev {link}"))
}

/// A command in the guest about its link. A port of a bridge has its addresses there.
fn in_guest(gathered: &Gathered<'_, '_>, sentence: &str, command: impl Fn(&str) -> String) -> Option<Cure> {
    let (_, child) = gathered.seen?;
    let link = child.master.as_ref().map_or(&child.name, |master| &master.name);
    let command = cure::plain(link).map(command).and_then(|command| cure::in_guest(gathered, command));
    Some(command.map_or(Cure::of(sentence), |command| Cure::of(sentence).by(command)))
}

/// The facts behind a refusal.
fn evidence(gathered: &Gathered<'_, '_>, code: Code, address: IpAddr) -> Vec<String> {
    let snapshot = gathered.material.snapshot;
    let name = |link| snapshot.links.get(&link).map_or("?", |link| link.name.as_str());
    let mut lines = Vec::new();
    match code {
        Code::NextHop => {
            let defaults = snapshot.routing.at(TABLE_MAIN, Family::of(address).everything());
            let hops = defaults.flat_map(|(_, way)| &way.hops).filter(|hop| hop.gateway == Some(address));
            lines.extend(hops.map(|hop| format!("default via {address} dev {}", name(hop.link))));
            if lines.is_empty() {
                let links = snapshot.routing.links_to_gateway(address);
                lines.extend(links.map(|link| format!("a route via {address} dev {}", name(link))));
            }
            lines.extend(machine(gathered, address));
            lines.push("a route to the guest would hand it all that traffic of this host".to_owned());
        }
        Code::HostAddress => {
            let own = snapshot.addresses.keys().filter(|key| key.address.addr() == address);
            lines.extend(own.map(|key| format!("{} is on {} of this host", key.address, name(key.link))));
        }
        Code::HeldOnLan => lines.extend(machine(gathered, address)),
        _ => {}
    }
    lines
}

/// The machine of the LAN that has the address.
fn machine(gathered: &Gathered<'_, '_>, address: IpAddr) -> Option<String> {
    let parent = gathered.parent?;
    let entry = gathered.material.snapshot.neighbours.get(&(address, parent.index))?;
    let mac = entry.mac?;
    let answers = if entry.state == NeighbourState::Reachable { "answers for it" } else { "had it" };
    Some(format!("the machine at {mac} {answers} on {}", parent.name))
}
