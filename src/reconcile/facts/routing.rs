//! The way of the host's own routing to an address: the answer of `ip route get` if none of our routes
//! existed.
//!
//! The packet is an unmarked one of an unbound socket of the host, whose source is not chosen yet. The rules
//! are followed in their order, without ours. In a table the longest destination counts, whatever the metric.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Facts;
use crate::model::names::TABLE_MAIN;
use crate::model::routing::{Action, RouteKind, Rule, Way};
use crate::model::snapshot::{Link, LinkKind};
use crate::model::{Family, LinkIndex};

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::reconcile) enum Leads<'a> {
    /// Onto the parent's link, without a gateway.
    OnLink,
    /// A route of this destination leads elsewhere, or nowhere; no way if a rule says so.
    Elsewhere(IpNet, Option<&'a Way>),
    /// There is at most a default route.
    Nowhere,
}

/// Looks an address up for a guest on `parent`.
pub(in crate::reconcile) fn look_up<'a>(facts: &Facts<'a>, parent: &Link, address: IpAddr) -> Leads<'a> {
    let rules = &facts.snapshot.rules;
    let family = Family::of(address);
    let mut from = Rule::first(family, 0);
    'jump: loop {
        let fitting = rules.range(from..).take_while(|rule| rule.family == family);
        for rule in fitting.filter(|rule| !rule.ours && rule.fits(address)) {
            match rule.action {
                Action::LookUp(table) => {
                    if let Some(leads) = in_table(facts, parent, address, rule, table) {
                        return leads;
                    }
                }
                Action::Goto(priority) if priority > rule.priority => {
                    let target = Rule::first(family, priority);
                    let is_target = |rule: &Rule| (rule.family, rule.priority) == (family, priority);
                    if rules.range(target..).next().is_some_and(is_target) {
                        from = target;
                        continue 'jump;
                    }
                }
                Action::Goto(_) | Action::Nop => {}
                Action::End => return elsewhere(rule.to.unwrap_or_else(|| family.everything()), None),
            }
        }
        return Leads::Nowhere;
    }
}

/// The way of a table; `None` if the look-up goes on with the next rule.
fn in_table<'a>(
    facts: &Facts<'a>,
    parent: &Link,
    address: IpAddr,
    rule: &Rule,
    table: u32,
) -> Option<Leads<'a>> {
    let routing = &facts.snapshot.routing;
    let long_enough = |net: &IpNet| rule.suppressed_length.is_none_or(|length| net.prefix_len() > length);
    let in_group = |link: LinkIndex| {
        let group = facts.snapshot.links.get(&link).map(|link| link.group);
        rule.suppressed_group.is_some_and(|suppressed| group == Some(suppressed))
    };
    let found = routing.longest(table, address);
    let latent = facts.latent_networks(parent).filter(|net| table == TABLE_MAIN && net.contains(&address));
    let latent = latent.max_by_key(IpNet::prefix_len);
    if latent.is_some_and(|latent| found.is_none_or(|found| latent.prefix_len() >= found.prefix_len())) {
        return latent.filter(long_enough).map(|_| Leads::OnLink);
    }
    let destination = found?;
    let ways = || routing.at(table, destination).map(|(_, way)| way);
    let first = ways().next()?;
    let succeeds = matches!(first.kind, RouteKind::Unicast | RouteKind::Local | RouteKind::Other);
    if first.kind == RouteKind::Throw || (succeeds && !long_enough(&destination)) {
        return None;
    }
    let links = ways().flat_map(Way::direct).filter(|link| destination.prefix_len() > 0 && !in_group(*link));
    if links.into_iter().any(|link| leads_to(facts, link, parent)) {
        return Some(Leads::OnLink);
    }
    if succeeds && first.hops.first().is_some_and(|hop| in_group(hop.link)) {
        return None;
    }
    Some(elsewhere(destination, Some(first)))
}

/// A default route says nothing about any address, unless it makes all of them the host's.
fn elsewhere(destination: IpNet, way: Option<&Way>) -> Leads<'_> {
    let local = way.is_some_and(|way| way.kind == RouteKind::Local);
    if destination.prefix_len() == 0 && !local { Leads::Nowhere } else { Leads::Elsewhere(destination, way) }
}

/// Packets that leave through a macvlan child of the parent arrive at the same machines as those that leave
/// through the parent, and at the guests of the host as well.
fn leads_to(facts: &Facts<'_>, link: LinkIndex, parent: &Link) -> bool {
    let is_upon = |link: &Link| matches!(link.kind, LinkKind::Macvlan(_)) && link.lower == Some(parent.index);
    link == parent.index || facts.snapshot.links.get(&link).is_some_and(is_upon)
}

/// Maximum number of hops of one route that a sentence names.
const NAMED: usize = 2;

/// A route in a sentence: "the host's route 10.0.0.0/8 through 192.0.2.1 on eth0 leads there".
pub(in crate::reconcile) fn sentence(facts: &Facts<'_>, destination: IpNet, way: Option<&Way>) -> String {
    let Some(way) = way else { return format!("a rule of the host drops packets to {destination}") };
    if way.kind != RouteKind::Unicast {
        return format!("the host's {} route {destination} covers it", way.kind);
    }
    let name = |link| facts.snapshot.links.get(&link).map_or("an unknown link", |link| link.name.as_str());
    let hop = |hop: &crate::model::routing::Hop| match hop.gateway {
        Some(gateway) => format!("{gateway} on {}", name(hop.link)),
        None => name(hop.link).to_owned(),
    };
    let mut hops: Vec<String> = way.hops.iter().take(NAMED).map(hop).collect();
    if way.hops.len() > NAMED {
        hops.push(format!("{} more", way.hops.len() - NAMED));
    }
    format!("the host's route {destination} through {} leads there", hops.join(" and "))
}
