//! The way of the host's routing, found by going through everything. It is slow, and written independently of
//! the code that it judges.

use std::net::IpAddr;

use macvlan_shim::model::routing::{Action, RouteKey, RouteKind, Rule, Way};
use macvlan_shim::model::snapshot::LinkKind;
use macvlan_shim::model::{Family, LinkIndex, Snapshot};

/// `None`: nowhere. `Some(None)`: onto the link of the parent. `Some(Some(length))`: elsewhere, by a route of
/// that length.
pub(crate) fn leads(snapshot: &Snapshot, parent: LinkIndex, ip: IpAddr) -> Option<Option<u8>> {
    let rules: Vec<&Rule> = snapshot.rules.iter().filter(|rule| rule.family == Family::of(ip)).collect();
    let mut at = 0;
    while let Some(rule) = rules.get(at) {
        at += 1;
        let selected = !rule.narrow && rule.to.is_none_or(|to| to.contains(&ip));
        if rule.ours || selected == rule.inverted {
            continue;
        }
        match rule.action {
            Action::Nop => {}
            Action::End => return Some(rule.to.map(|to| to.prefix_len())).filter(|length| *length > Some(0)),
            Action::Goto(priority) if priority <= rule.priority => {}
            Action::Goto(priority) => {
                at = rules.iter().position(|rule| rule.priority == priority).unwrap_or(at);
            }
            Action::LookUp(table) => match in_table(snapshot, parent, ip, rule, table) {
                Found::Nothing => {}
                Found::Here => return Some(None),
                Found::There(0) => return None,
                Found::There(length) => return Some(Some(length)),
            },
        }
    }
    None
}

enum Found {
    Nothing,
    Here,
    There(u8),
}

fn in_table(snapshot: &Snapshot, parent: LinkIndex, ip: IpAddr, rule: &Rule, table: u32) -> Found {
    let suppressed = |length: u8| rule.suppressed_length.is_some_and(|most| length <= most);
    let routes =
        snapshot.routing.iter().filter(|(key, _)| key.table == table && key.destination.contains(&ip));
    let routes: Vec<(&RouteKey, &Way)> = routes.collect();
    let length = routes.iter().map(|(key, _)| key.destination.prefix_len()).max();
    let down = !snapshot.links[&parent].up && table == 254;
    let of_addresses =
        snapshot.addresses.iter().filter(|(key, value)| down && key.link == parent && !value.ours);
    let of_addresses = of_addresses.map(|(key, value)| value.peer.unwrap_or(key.address).trunc());
    let of_addresses =
        of_addresses.filter(|net| net.contains(&ip) && net.prefix_len() < net.max_prefix_len());
    if let Some(own) = of_addresses.map(|net| net.prefix_len()).max().filter(|own| Some(*own) >= length) {
        return if suppressed(own) { Found::Nothing } else { Found::Here };
    }
    let Some(length) = length else { return Found::Nothing };
    let longest =
        || routes.iter().filter(|(key, _)| key.destination.prefix_len() == length).map(|(_, way)| *way);
    let first = longest().next().unwrap();
    let grouped = |link: LinkIndex| {
        let group = snapshot.links.get(&link).map(|link| link.group);
        rule.suppressed_group.is_some() && group == rule.suppressed_group
    };
    let here = |link: LinkIndex| {
        let upon = snapshot.links.get(&link).filter(|link| matches!(link.kind, LinkKind::Macvlan(_)));
        link == parent || upon.is_some_and(|link| link.lower == Some(parent))
    };
    match first.kind {
        RouteKind::Throw => return Found::Nothing,
        RouteKind::Unreachable | RouteKind::Blackhole | RouteKind::Prohibit => {}
        _ if suppressed(length) => return Found::Nothing,
        _ => {}
    }
    let mut hops = longest().filter(|way| way.kind == RouteKind::Unicast).flat_map(|way| &way.hops);
    if length > 0 && hops.any(|hop| hop.gateway.is_none() && here(hop.link) && !grouped(hop.link)) {
        return Found::Here;
    }
    let leaves = !matches!(first.kind, RouteKind::Unreachable | RouteKind::Blackhole | RouteKind::Prohibit);
    match first.hops.first() {
        Some(hop) if leaves && grouped(hop.link) => Found::Nothing,
        _ => Found::There(length),
    }
}
