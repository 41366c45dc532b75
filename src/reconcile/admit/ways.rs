//! Rules about the way of the host's routing.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::case::Case;
use super::route_in_the_way::route_in_the_way;
use super::verdict::Why;
use crate::model::Family;
use crate::model::routing::{RouteKind, Way};
use crate::model::snapshot::LinkKind;
use crate::model::status::Problem;
use crate::reconcile::facts::routing::{self, Leads};

/// The owner of a gateway's address gets everything that the host sends through it.
pub(super) fn next_hop(case: &Case<'_>) -> Option<Why> {
    let ip = case.address;
    let message = || format!("{ip} is the gateway of a route of this host; policy.allow admits it");
    (case.allowed().is_none() && case.facts.is_next_hop(ip)).then(|| Why::of(message()))
}

/// The host does not talk IPv6 on the parent. Guests there may get an address from a router all the same.
pub(super) fn no_family(case: &Case<'_>) -> Option<Why> {
    let is_out = case.leads() == Leads::Nowhere && case.allowed().is_none() && case.address.is_ipv6();
    let message = || format!("this host has no IPv6 network on {}", case.parent.name);
    (is_out && networks(case).is_empty()).then(|| Why::of(message()))
}

/// The networks of the parent, of the address's family.
fn networks(case: &Case<'_>) -> BTreeSet<IpNet> {
    let family = Family::of(case.address);
    case.facts.networks(case.parent).filter(|range| Family::of(*range) == family).collect()
}

/// At most a default route leads to it.
pub(super) fn off_link(case: &Case<'_>) -> Option<Why> {
    if case.leads() != Leads::Nowhere || case.allowed().is_some() {
        return None;
    }
    let (link, family, same) = (&case.parent.name, Family::of(case.address), networks(case));
    if same.is_empty() {
        let message =
            format!("this host has no {family} network on {link}, and no route to {}", case.address);
        let hint = format!("give {link} an address in the network of the guest");
        return Some(Why { message, hint: Some(hint) });
    }
    let near = same.iter().find(|range| range.contains(&case.address)).copied();
    let same: Vec<String> = same.iter().map(ToString::to_string).collect();
    let seen = match near {
        Some(range) => format!("rules of the host lead it past {range} on {link}"),
        None => format!("it is in none of the networks of {link} ({})", same.join(", ")),
    };
    Some(Why::of(format!("{seen}; policy.allow admits further ones")))
}

/// A local route makes it an address of the host, although no link has it.
pub(super) fn local_route(case: &Case<'_>) -> Option<Why> {
    let Leads::Elsewhere(to, Some(way)) = case.leads() else { return None };
    let message = || format!("the host's local route {to} makes {} an address of this host", case.address);
    (way.kind == RouteKind::Local).then(|| Why::of(message()))
}

/// The route that leads elsewhere is a route to this very address.
pub(super) fn route_taken_nearby(case: &Case<'_>) -> Option<Why> {
    elsewhere(case).filter(|_| case.is_near())?;
    route_taken(case)
}

/// A route or rule of the host leads past the parent's own network.
pub(super) fn routed_elsewhere(case: &Case<'_>) -> Option<Why> {
    let (to, way) = elsewhere(case).filter(|_| case.is_near())?;
    Some(led_by(case, to, way))
}

/// The parent has no network of this family, and another link of the host has the one of the address. It may
/// be on the same LAN, and then the LAN carries traffic between the two. If the kernel knows the guest there,
/// it does. A bridge has guests of its own, so it takes that proof, and if the kernel knows another machine
/// there, the claim is refused as any other.
pub(super) fn other_uplink(case: &Case<'_>) -> Option<Why> {
    let (to, way) = elsewhere(case).filter(|_| networks(case).is_empty())?;
    let is_host_route = to.prefix_len() == to.max_prefix_len();
    let links = way.filter(|_| !is_host_route)?.direct();
    let uplink =
        links.filter_map(|link| case.facts.snapshot.links.get(&link)).find(|link| link.mac.is_some())?;
    let entry = case.facts.snapshot.neighbours.get(&(case.address, uplink.index));
    let known = entry.filter(|entry| entry.state.is_resolved()).and_then(|entry| entry.mac);
    let (link, name) = (&case.parent.name, &uplink.name);
    let message = match known {
        Some(mac) if mac == case.child.mac => format!("this host reaches it through {name} and the LAN"),
        None if uplink.kind != LinkKind::Bridge => format!(
            "this host has {to} on {name}; it reaches the guest there if {name} and {link} are on one LAN"
        ),
        _ => return None,
    };
    Some(Why::of(message))
}

/// A route or rule of the host leads elsewhere, and the parent has no network that contains the address.
pub(super) fn routed_away(case: &Case<'_>) -> Option<Why> {
    let (to, way) = elsewhere(case).filter(|_| !case.is_near())?;
    Some(led_by(case, to, way))
}

/// The destination that leads elsewhere, unless policy.allow has a prefix of at least that length.
fn elsewhere<'a>(case: &Case<'a>) -> Option<(IpNet, Option<&'a Way>)> {
    let Leads::Elsewhere(to, way) = case.leads() else { return None };
    case.allowed().is_none_or(|length| length < to.prefix_len()).then_some((to, way))
}

fn led_by(case: &Case<'_>, to: IpNet, way: Option<&Way>) -> Why {
    Why::of(format!(
        "{}; policy.allow admits it only by a prefix of /{} or longer",
        routing::sentence(&case.facts, to, way),
        to.prefix_len()
    ))
}

/// A foreign route has the place of ours.
pub(super) fn route_taken(case: &Case<'_>) -> Option<Why> {
    let Problem { message, hint, .. } = route_in_the_way(&case.facts, IpNet::from(case.address))?;
    Some(Why { message, hint: Some(hint) })
}

/// The host has no source address.
pub(super) fn no_source(case: &Case<'_>) -> Option<Why> {
    case.source().is_none().then(|| source_is_missing(case))
}

/// The words of [`no_source`].
pub(super) fn source_is_missing(case: &Case<'_>) -> Why {
    let link = &case.parent.name;
    Why::of(format!(
        "this host has no {} address on {link} to talk from; give it one, or give the shim one: \
         addresses in [[parent]] name = \"{link}\"",
        Family::of(case.address)
    ))
}
