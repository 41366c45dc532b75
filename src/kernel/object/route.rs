//! Routes of the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use nix::libc;
use rtnetlink::RouteMessageBuilder;

use super::next_hop::{self, NextHops};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{
    Attributes, MalformedError, Message, family_of, ip_of, link_at, link_of, net, u8_at, u16_at, u32_at,
    u32_of,
};
use crate::model::names::{PROTOCOL, TABLE_LOCAL, metric};
use crate::model::routing::{Hop, RouteKey, RouteKind, Routing, Way, is_host};
use crate::model::snapshot::Route;
use crate::model::{Family, LinkIndex};

/// A route as a message shows it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::kernel) struct Seen {
    pub(in crate::kernel) key: RouteKey,
    pub(in crate::kernel) value: Route,
    /// Its way. Empty if only the number of a next-hop object is shown.
    pub(in crate::kernel) way: Way,
    /// The next-hop object that it names, if the kernel shows nothing else.
    pub(in crate::kernel) next_hop: Option<u32>,
    /// It is for one type of service or one range of sources, so its key does not identify it.
    partial: bool,
}

impl Seen {
    /// Whether the snapshot has such routes: those without a gateway, those to one host, and ours, but not
    /// those to link-local addresses. It also has routes of other kinds than unicast in the places of our
    /// routes to hosts.
    pub(in crate::kernel) fn is_kept(&self) -> bool {
        let destination = self.key.destination;
        let counts = match self.value.kind {
            RouteKind::Unicast => self.value.ours || is_host(&destination) || !self.value.gateway,
            _ => self.key.host().is_some(),
        };
        counts && self.concerns() && self.key.table != TABLE_LOCAL
    }

    /// Whether it is one of the host's own routes that decide where packets go.
    pub(in crate::kernel) fn is_foreign(&self) -> bool {
        !self.value.ours && self.concerns()
    }

    fn concerns(&self) -> bool {
        !self.partial && !super::address::is_link_local(self.key.destination.addr())
    }
}

/// All routes that the snapshot has.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kernel) struct Routes {
    pub(in crate::kernel) routes: BTreeMap<RouteKey, Route>,
    pub(in crate::kernel) routing: Routing,
    /// The next-hop objects, if any route names one.
    pub(in crate::kernel) next_hops: NextHops,
    /// Routes that name an object and show nothing else.
    hidden: Vec<(RouteKey, u32)>,
}

impl Routes {
    fn add(&mut self, seen: Seen) {
        if seen.is_kept() {
            self.routes.insert(seen.key, seen.value);
        }
        if !seen.is_foreign() {
            return;
        }
        match seen.next_hop {
            Some(id) => self.hidden.push((seen.key, id)),
            None => self.lead(seen.key, seen.way),
        }
    }

    /// Several routes may have the same key.
    fn lead(&mut self, key: RouteKey, way: Way) {
        let way = match self.routing.get(&key) {
            Some(first) if first.kind == way.kind => {
                let hops = first.hops.iter().chain(&way.hops).copied().collect();
                Way { hops, ..way }
            }
            Some(_) => return,
            None => way,
        };
        self.routing.put(key, way);
    }
}

/// Reads `RTM_NEWROUTE` and `RTM_DELROUTE`. `None` for cached exceptions, and for routes that the kernel
/// itself has put into table local, because they follow from the addresses.
pub(in crate::kernel) fn read(message: &Message<'_>) -> Result<Option<Seen>, MalformedError> {
    const HEADER: usize = 12;
    let payload = message.payload;
    let Some(family) = family_of(payload)? else { return Ok(None) };
    if u32_at(payload, 8)? & libc::RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let kind = kind_of(u8_at(payload, 7)?);
    let mut table = u32::from(u8_at(payload, 4)?);
    let partial = u8_at(payload, 2)? != 0 || u8_at(payload, 3)? != 0;
    let protocol = u8_at(payload, 5)?;
    let ours = protocol == PROTOCOL && kind == RouteKind::Unicast;
    let (mut destination, mut metric, mut source) = (family.unspecified(), 0, None);
    let (mut single, mut hops, mut next_hop) = (Hop { link: LinkIndex::NONE, gateway: None }, vec![], None);
    for attribute in Attributes::after(payload, HEADER) {
        let (attribute, value) = attribute?;
        match attribute {
            libc::RTA_TABLE => table = u32_of(value)?,
            libc::RTA_DST => destination = ip_of(value)?,
            libc::RTA_OIF => single.link = link_of(value)?,
            libc::RTA_PRIORITY => metric = u32_of(value)?,
            libc::RTA_PREFSRC => source = Some(ip_of(value)?),
            libc::RTA_GATEWAY => single.gateway = Some(ip_of(value)?),
            libc::RTA_VIA => single.gateway = via(value)?,
            libc::RTA_MULTIPATH => multipath(value, &mut hops)?,
            next_hop::RTA_NH_ID => next_hop = Some(u32_of(value)?),
            _ => {}
        }
    }
    if table == TABLE_LOCAL && (kind != RouteKind::Local || protocol == libc::RTPROT_KERNEL) {
        return Ok(None);
    }
    let link = single.link;
    let key = RouteKey { table, destination: net(destination, u8_at(payload, 1)?)?, metric, link };
    let shown = link != LinkIndex::NONE || !hops.is_empty();
    if kind == RouteKind::Unicast && hops.is_empty() && shown {
        hops.push(single);
    }
    let next_hop = next_hop.filter(|_| !shown);
    // If the kernel shows only the number of a next-hop object, a gateway must be assumed.
    let gateway = next_hop.is_some() || hops.iter().any(|hop| hop.gateway.is_some());
    let value = Route { source, ours, gateway, kind };
    Ok(Some(Seen { key, value, way: Way { kind, hops }, next_hop, partial }))
}

fn kind_of(number: u8) -> RouteKind {
    match number {
        libc::RTN_UNICAST => RouteKind::Unicast,
        libc::RTN_BLACKHOLE => RouteKind::Blackhole,
        libc::RTN_UNREACHABLE => RouteKind::Unreachable,
        libc::RTN_PROHIBIT => RouteKind::Prohibit,
        libc::RTN_THROW => RouteKind::Throw,
        libc::RTN_LOCAL => RouteKind::Local,
        _ => RouteKind::Other,
    }
}

/// `struct rtvia`: a gateway of another family than the route's.
fn via(value: &[u8]) -> Result<Option<IpAddr>, MalformedError> {
    match i32::from(u16_at(value, 0)?) {
        libc::AF_INET | libc::AF_INET6 => ip_of(value.get(2..).unwrap_or_default()).map(Some),
        _ => Ok(None),
    }
}

/// `struct rtnexthop`, each with its own attributes.
fn multipath(mut rest: &[u8], hops: &mut Vec<Hop>) -> Result<(), MalformedError> {
    const HEADER: usize = 8;
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 0)?);
        let seen = rest.get(..length).filter(|hop| hop.len() >= HEADER).ok_or(MalformedError("next hop"))?;
        let mut hop = Hop { link: link_at(seen, 4)?, gateway: None };
        for attribute in Attributes::after(seen, HEADER) {
            match attribute? {
                (libc::RTA_GATEWAY, value) => hop.gateway = Some(ip_of(value)?),
                (libc::RTA_VIA, value) => hop.gateway = via(value)?,
                _ => {}
            }
        }
        hops.push(hop);
        rest = rest.get(crate::kernel::socket::wire::aligned(length)..).unwrap_or_default();
    }
    Ok(())
}

/// All routes of both families.
pub(in crate::kernel) fn dump(requests: &mut Requests) -> Result<Routes, RequestError> {
    let mut all = requests.dump(question(Family::V4), add)?;
    let Routes { routes, routing, hidden, .. } = requests.dump(question(Family::V6), add)?;
    all.routes.extend(routes);
    for (key, way) in routing.iter() {
        all.routing.put(*key, way.clone());
    }
    all.hidden.extend(hidden);
    if !all.hidden.is_empty() {
        all.next_hops = next_hop::dump(requests)?;
    }
    for (key, id) in std::mem::take(&mut all.hidden) {
        // An object that has gone meanwhile has taken its routes with it.
        if let Some(way) = all.next_hops.way(id) {
            all.lead(key, way);
        }
    }
    Ok(all)
}

fn add(table: &mut Routes, message: &Message<'_>) -> Result<(), MalformedError> {
    if let Some(seen) = read(message)? {
        table.add(seen);
    }
    Ok(())
}

fn question(family: Family) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family.into();
    RouteNetlinkMessage::GetRoute(message)
}

/// A route through a link with our mark.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct WantedRoute {
    pub(in crate::kernel) link: LinkIndex,
    pub(in crate::kernel) destination: IpNet,
    pub(in crate::kernel) source: Option<IpAddr>,
    pub(in crate::kernel) table: u32,
}

/// The routes in the place of that one, including those that the snapshot does not have. Each of them
/// prevents the addition.
pub(in crate::kernel) fn in_place_of(
    requests: &mut Requests,
    wanted: WantedRoute,
) -> Result<Vec<Seen>, RequestError> {
    let family = Family::of(wanted.destination);
    let place = (wanted.table, wanted.destination, metric(family));
    requests.dump(question(family), |list: &mut Vec<Seen>, message| {
        let there = |seen: &Seen| {
            let RouteKey { table, destination, metric, .. } = seen.key;
            !seen.partial && (table, destination, metric) == place
        };
        list.extend(read(message)?.filter(there));
        Ok(())
    })
}

/// Makes the route. `replace`: in the place of another.
pub(in crate::kernel) fn set(
    requests: &mut Requests,
    wanted: WantedRoute,
    replace: bool,
) -> Result<(), RequestError> {
    let WantedRoute { link, destination, source, table } = wanted;
    let mut builder = named(link, destination, table)?;
    if Family::of(destination) == Family::V4 {
        builder = builder.scope(RouteScope::Link);
    }
    if let Some(source) = source {
        builder = builder.pref_source(source).map_err(|error| RequestError::Broken(error.to_string()))?;
    }
    let flags = NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL };
    requests.order(RouteNetlinkMessage::NewRoute(builder.build()), flags)
}

/// Deletes the route with our mark that goes through that link.
pub(in crate::kernel) fn delete(
    requests: &mut Requests,
    link: LinkIndex,
    destination: IpNet,
    table: u32,
    metric: u32,
) -> Result<(), RequestError> {
    let mut message = named(link, destination, table)?.priority(metric).build();
    message.header.scope = RouteScope::NoWhere;
    requests.order(RouteNetlinkMessage::DelRoute(message), 0)
}

fn named(
    link: LinkIndex,
    destination: IpNet,
    table: u32,
) -> Result<RouteMessageBuilder<IpAddr>, RequestError> {
    let builder = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(link.0)
        .table_id(table)
        .protocol(RouteProtocol::Other(PROTOCOL));
    builder
        .destination_prefix(destination.network(), destination.prefix_len())
        .map_err(|error| RequestError::Broken(error.to_string()))
}
