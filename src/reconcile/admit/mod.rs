//! The admission rules: may the host's traffic for this address go to this NIC? A guest is not trusted:
//! whoever claims an address must not thereby get the host's traffic for somebody else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

mod route_taken;
mod verdict;

pub(super) use self::route_taken::route_in_the_way;
pub use self::verdict::{Refusal, Verdict};
use crate::config::Probe;
use crate::model::address::is_global_unicast;
use crate::model::routing::RouteKind;
use crate::model::snapshot::{GuestAddress, Link, Neighbour, NeighbourState};
use crate::model::status::Problem;
use crate::model::{Code, Family, LinkIndex, Mac};
use crate::reconcile::facts::Facts;
use crate::reconcile::facts::routing::{self, Leads};

/// Who claims an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The MACs that are its by right: a machine that was seen on the LAN with one of them may have been the
    /// claimant itself, before it came here. Root in a guest can take any other machine's.
    pub known_as: Vec<Mac>,
    /// Those at which the shim reaches it. They differ from its own for a sibling of the NIC in another mode
    /// than bridge.
    pub reached_at: Vec<Mac>,
    /// An address of it turned out to be another machine's.
    pub distrusted: bool,
}

impl Claimant {
    /// Our neighbour entry names one of its MACs.
    pub(super) fn holds(&self, facts: &Facts<'_>, parent: LinkIndex, ip: IpAddr) -> bool {
        self.reached_at.iter().any(|mac| facts.holds(parent, *mac, ip))
    }
}

/// The verdict on one address by the rules that concern this NIC alone. What other NICs claim, and how
/// many addresses this one has, is weighed afterwards (`hold`).
pub fn admit(
    facts: &Facts<'_>,
    parent: &Link,
    claimant: &Claimant,
    address: IpNet,
    state: GuestAddress,
) -> Verdict {
    use Code as R;
    let ip = address.addr();
    let link = &parent.name;
    let policy = &facts.config.policy;
    let refused = |code: R, message: String| Verdict::refused(code, message);

    if !is_global_unicast(ip) {
        return refused(R::NotGlobal, format!("{ip} is no global unicast address"));
    }
    if ip.is_ipv6() && !facts.ipv6() {
        let why =
            if facts.config.shim.ipv6 { "the kernel has IPv6 switched off" } else { "[shim] ipv6 is false" };
        return refused(R::Ipv6Off, format!("{why}, so no IPv6 address is routed"));
    }
    match state {
        GuestAddress::Settled => {}
        GuestAddress::Tentative => {
            let message = "the guest is still asking the LAN whether the address is free";
            return refused(R::Tentative, message.to_owned());
        }
        GuestAddress::Duplicate => {
            let message = "the guest found another machine with this address";
            return refused(R::Duplicate, message.to_owned());
        }
    }
    if let Some(range) = policy.deny.iter().find(|range| range.contains(&ip)) {
        return refused(R::Denied, format!("policy.deny has {range}"));
    }
    if facts.host.own.contains(&ip) {
        return refused(R::HostAddress, format!("{ip} is an address of this host"));
    }
    if let Some(name) = facts.host.members.get(&ip) {
        return refused(R::ClusterMember, format!("{ip} is the address of the cluster member {name}"));
    }
    let allowed = policy.allow.iter().filter(|range| range.contains(&ip)).map(IpNet::prefix_len).max();
    if allowed.is_none() && facts.is_next_hop(ip) {
        let message = format!("{ip} is the gateway of a route of this host; policy.allow admits it");
        return refused(R::NextHop, message);
    }
    if let Some(verdict) = led_elsewhere(facts, parent, ip, allowed) {
        return verdict;
    }
    for range in facts.networks(parent).filter(|range| range.contains(&ip)) {
        if let Some(code) = reserved(&range, ip) {
            return refused(code, format!("{ip} is reserved in {range}"));
        }
    }
    if let Some(verdict) = held_on_lan(facts, parent, claimant, ip) {
        return verdict;
    }
    if let Some(why) = facts.trust.unasked.get(&ip) {
        let message = format!("the LAN of {link} must be asked first who has {ip}, and cannot be: {why}");
        return refused(R::Asking, message);
    }
    if is_asked_first(facts, parent, claimant, ip) {
        let why = match claimant.distrusted {
            true => "an address of this NIC turned out to be another machine's",
            false => "policy.probe is \"strict\"",
        };
        return refused(R::Asking, format!("asking the LAN of {link} first who has {ip}: {why}"));
    }
    if let Some(problem) = route_in_the_way(facts, IpNet::from(ip)) {
        return taken(problem);
    }
    match facts.source(parent, ip) {
        Some(source) => Verdict::Admitted { source },
        None => refused(
            R::NoSource,
            format!(
                "this host has no {} address on {link} to talk from; give it one, or give the shim one: \
                 addresses in [[parent]] name = \"{link}\"",
                Family::of(ip)
            ),
        ),
    }
}

fn taken(problem: Problem) -> Verdict {
    let Problem { message, hint, .. } = problem;
    Verdict::Refused(Refusal { code: Code::RouteTaken, is_urgent: false, message, hint: Some(hint) })
}

/// The host's own routing does not lead onto the parent's link. `allowed`: the length of the prefix in
/// policy.allow.
fn led_elsewhere(facts: &Facts<'_>, parent: &Link, ip: IpAddr, allowed: Option<u8>) -> Option<Verdict> {
    let (to, way) = match routing::look_up(facts, parent, ip) {
        Leads::OnLink => return None,
        Leads::Nowhere if allowed.is_some() => return None,
        Leads::Nowhere => return Some(Verdict::refused(Code::OffLink, off_link(facts, parent, ip))),
        Leads::Elsewhere(to, way) => (to, way),
    };
    if way.is_some_and(|way| way.kind == RouteKind::Local) {
        let message = format!("the host's local route {to} makes {ip} an address of this host");
        return Some(Verdict::refused(Code::HostAddress, message));
    }
    if allowed.is_some_and(|length| length >= to.prefix_len()) {
        return None;
    }
    // A renewal takes the parent's own network away for a moment, and what is left may lead anywhere.
    let is_near = facts.networks(parent).any(|range| range.contains(&ip));
    if let Some(problem) = route_in_the_way(facts, IpNet::from(ip)).filter(|_| is_near) {
        return Some(taken(problem));
    }
    let message = format!(
        "{}; policy.allow admits it only by a prefix of /{} or longer",
        routing::sentence(facts, to, way),
        to.prefix_len()
    );
    Some(Verdict::Refused(Refusal { code: Code::RoutedElsewhere, is_urgent: is_near, message, hint: None }))
}

fn off_link(facts: &Facts<'_>, parent: &Link, ip: IpAddr) -> String {
    let link = &parent.name;
    let same = facts.networks(parent).filter(|range| Family::of(*range) == Family::of(ip));
    let same: BTreeSet<IpNet> = same.collect();
    let near = same.iter().find(|range| range.contains(&ip)).copied();
    let same: Vec<String> = same.iter().map(ToString::to_string).collect();
    let seen = match (near, same.as_slice()) {
        (Some(range), _) => format!("rules of the host lead it past {range} on {link}"),
        (_, []) => {
            format!("this host has no {} network on {link}", Family::of(ip))
        }
        (_, some) => format!("it is in none of the networks of {link} ({})", some.join(", ")),
    };
    format!("{seen}; policy.allow admits further ones")
}

/// The parent's neighbour table knows another machine with that address.
fn held_on_lan(facts: &Facts<'_>, parent: &Link, claimant: &Claimant, ip: IpAddr) -> Option<Verdict> {
    let entry = facts.snapshot.neighbours.get(&(ip, parent.index))?;
    // One that we set by hand on a parent is a leftover, no knowledge.
    let leftover = entry.ours && entry.state == NeighbourState::Permanent;
    if entry.state == NeighbourState::Disputed {
        let message =
            format!("another machine held {ip} on the LAN of {}; asking whether it still does", parent.name);
        return Some(Verdict::refused(Code::HeldOnLan, message));
    }
    // A parent never hears its own children: what has answered to a question of ours is another machine,
    // whatever its MAC. What the kernel knows by itself may be older than the claimant's coming here.
    let itself = |holder: &Mac| !entry.ours && claimant.known_as.contains(holder);
    let holder = entry.mac.filter(|holder| !leftover && !itself(holder))?;
    let link = &parent.name;
    if claimant.reached_at.contains(&holder) {
        let message = format!(
            "a machine on the LAN of {link} that has {ip} has this guest's MAC, {holder}, too; two machines must share \
             neither"
        );
        return Some(Verdict::refused(Code::HeldOnLan, message));
    }
    match entry.state {
        NeighbourState::Unresolved | NeighbourState::Disputed | NeighbourState::Failed => None,
        NeighbourState::Permanent | NeighbourState::Reachable => Some(Verdict::refused(
            Code::HeldOnLan,
            format!("{holder} holds {ip} on the LAN of {link}; two machines must not share an address"),
        )),
        NeighbourState::Stale | NeighbourState::Probing => Some(Verdict::refused(
            Code::HeldOnLan,
            format!("{holder} held {ip} on the LAN of {link}; asking whether it still does"),
        )),
    }
}

/// Its route waits until nobody on the LAN has answered; not where it stands already.
fn is_asked_first(facts: &Facts<'_>, parent: &Link, claimant: &Claimant, ip: IpAddr) -> bool {
    let wanted = match facts.config.policy.probe {
        Probe::Strict => true,
        Probe::Optimistic => claimant.distrusted,
        Probe::Off => false,
    };
    let entry = || facts.snapshot.neighbours.get(&(ip, parent.index));
    wanted && !entry().is_some_and(Neighbour::is_nobodys) && !claimant.holds(facts, parent.index, ip)
}

/// A machine of the LAN answers for an address just now.
pub(super) fn is_answered(facts: &Facts<'_>, parent: LinkIndex, ip: IpAddr) -> bool {
    let entry = facts.snapshot.neighbours.get(&(ip, parent));
    entry.is_some_and(|entry| entry.state == NeighbourState::Reachable)
}

/// The addresses of a range that are no machine's.
fn reserved(range: &IpNet, ip: IpAddr) -> Option<Code> {
    match (range, ip) {
        (IpNet::V4(range), IpAddr::V4(ip)) if range.prefix_len() <= 30 => match ip {
            ip if ip == range.network() => Some(Code::NetworkAddress),
            ip if ip == range.broadcast() => Some(Code::BroadcastAddress),
            _ => None,
        },
        (IpNet::V6(range), IpAddr::V6(ip)) if range.prefix_len() <= 126 && ip == range.network() => {
            Some(Code::NetworkAddress)
        }
        _ => None,
    }
}
