//! Foreign routes in the places of ours.

use ipnet::IpNet;

use crate::model::names::{TABLE, metric};
use crate::model::routing::RouteKind;
use crate::model::snapshot::RouteKey;
use crate::model::status::Problem;
use crate::model::{Code, Family, LinkIndex};
use crate::reconcile::facts::Facts;

/// A foreign route in the place of ours is never touched.
pub(in crate::reconcile) fn route_in_the_way(facts: &Facts<'_>, destination: IpNet) -> Option<Problem> {
    let family = Family::of(destination);
    let key = |link| RouteKey { table: facts.table(family), destination, metric: metric(family), link };
    let mut routes = facts.snapshot.routes.range(key(LinkIndex::NONE)..=key(LinkIndex::LAST));
    let (key, route) = routes.find(|(_, route)| !route.ours)?;
    let link = facts.snapshot.links.get(&key.link).map_or("?", |link| link.name.as_str());
    let (what, dev) = match route.kind {
        RouteKind::Unicast => (format!("route to {destination} through {link}"), format!(" dev {link}")),
        kind => (format!("{kind} route to {destination}"), String::new()),
    };
    let in_table = if key.table == TABLE { " table 77" } else { "" };
    let family = if family == Family::V6 { "-6 " } else { "" };
    Some(Problem::new(
        Code::RouteTaken,
        destination.to_string(),
        format!("a foreign {what} stands in the way"),
        format!("if nothing needs it: ip {family}route delete {destination}{dev}{in_table}"),
    ))
}
