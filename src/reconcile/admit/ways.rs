//! Rules about the way of the host's routing.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::case::Case;
use super::route_in_the_way::route_in_the_way;
use super::verdict::Why;
use crate::model::Family;
use crate::model::routing::{RouteKind, Way};
use crate::model::status::Problem;
use crate::reconcile::facts::routing::{self, Leads};

/// The owner of a gateway's address gets everything that the host sends through it.
pub(super) fn next_hop(case: &Case<'_>) -> Option<Why> {
    let ip = case.address;
    let message = || format!("{ip} is the gateway of a route of this host; policy.allow admits it");
    (case.allowed().is_none() && case.facts.is_next_hop(ip)).then(|| Why::of(message()))
}

/// At most a default route leads to it.
pub(super) fn off_link(case: &Case<'_>) -> Option<Why> {
    if case.leads() != Leads::Nowhere || case.allowed().is_some() {
        return None;
    }
    let (link, family) = (&case.parent.name, Family::of(case.address));
    let same = case.facts.networks(case.parent).filter(|range| Family::of(*range) == family);
    let same: BTreeSet<IpNet> = same.collect();
    let near = same.iter().find(|range| range.contains(&case.address)).copied();
    let same: Vec<String> = same.iter().map(ToString::to_string).collect();
    let seen = match (near, same.as_slice()) {
        (Some(range), _) => format!("rules of the host lead it past {range} on {link}"),
        (_, []) => format!("this host has no {family} network on {link}"),
        (_, some) => format!("it is in none of the networks of {link} ({})", some.join(", ")),
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
