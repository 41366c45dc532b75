//! Routes of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;
use rtnetlink::RouteMessageBuilder;

use super::error::Fault;
use super::next_hop;
use super::request::Requests;
use super::wire::{Attributes, Malformed, Message, ip_of, net, u8_at, u16_at, u32_at, u32_of};
use crate::model::names::{PROTOCOL, TABLE_LOCAL, metric};
use crate::model::snapshot::{Route, RouteKey, RouteKind, is_host};

/// A route as a message shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) key: RouteKey,
    pub(super) value: Route,
    /// Its gateways, several if it is a multipath route.
    pub(super) gateways: Vec<IpAddr>,
    /// It takes its next hops from an object of its own, which may name gateways that the route does not.
    pub(super) next_hop_object: bool,
    /// Its key is not its whole identity: it is for one type of service or one range of sources.
    partial: bool,
}

impl Seen {
    /// Whether the snapshot has such routes: those with no gateway, those to one host, and ours; but not
    /// those to link-local addresses. Of other kinds than unicast those that stand where ours to a host would.
    pub(super) fn is_kept(&self) -> bool {
        let destination = self.key.destination;
        let link_local = super::address::is_link_local(destination.addr());
        let counts = match self.value.kind {
            RouteKind::Unicast => self.value.ours || is_host(&destination) || !self.value.gateway,
            _ => self.key.host().is_some(),
        };
        counts && !self.partial && !link_local
    }
}

/// All routes that the snapshot has, and the gateways of all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) routes: BTreeMap<RouteKey, Route>,
    pub(super) next_hops: BTreeSet<IpAddr>,
    next_hop_objects: bool,
}

/// Reads `RTM_NEWROUTE` and `RTM_DELROUTE`; `None` for what is no route of a table that anybody has filled: those of
/// table local, cached exceptions.
pub(super) fn read(message: &Message<'_>) -> Result<Option<Seen>, Malformed> {
    const HEADER: usize = 12;
    let payload = message.payload;
    let family = i32::from(u8_at(payload, 0)?);
    let unspecified = match family {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        _ => return Ok(None),
    };
    if u32_at(payload, 8)? & libc::RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let kind = kind_of(u8_at(payload, 7)?);
    let mut table = u32::from(u8_at(payload, 4)?);
    let partial = u8_at(payload, 2)? != 0 || u8_at(payload, 3)? != 0;
    let ours = u8_at(payload, 5)? == PROTOCOL && kind == RouteKind::Unicast;
    let (mut destination, mut link, mut metric, mut source) = (unspecified, 0, 0, None);
    let (mut gateways, mut next_hop_object) = (vec![], false);
    for attribute in Attributes::after(payload, HEADER) {
        let (attribute, value) = attribute?;
        match attribute {
            libc::RTA_TABLE => table = u32_of(value)?,
            libc::RTA_DST => destination = ip_of(value)?,
            libc::RTA_OIF => link = u32_of(value)?,
            libc::RTA_PRIORITY => metric = u32_of(value)?,
            libc::RTA_PREFSRC => source = Some(ip_of(value)?),
            libc::RTA_GATEWAY => gateways.push(ip_of(value)?),
            libc::RTA_VIA => gateways.extend(via(value)?),
            libc::RTA_MULTIPATH => multipath(value, &mut gateways)?,
            next_hop::RTA_NH_ID => next_hop_object = true,
            _ => {}
        }
    }
    if table == TABLE_LOCAL {
        return Ok(None);
    }
    let key = RouteKey { table, destination: net(destination, u8_at(payload, 1)?)?, metric, link };
    // Where the kernel shows only the number of a next-hop object, a gateway must be assumed.
    let hidden = next_hop_object && link == 0;
    let value = Route { source, ours, gateway: hidden || !gateways.is_empty(), kind };
    Ok(Some(Seen { key, value, gateways, next_hop_object, partial }))
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
fn via(value: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    match i32::from(u16_at(value, 0)?) {
        libc::AF_INET | libc::AF_INET6 => ip_of(value.get(2..).unwrap_or_default()).map(Some),
        _ => Ok(None),
    }
}

/// `struct rtnexthop`, each with its own attributes.
fn multipath(mut rest: &[u8], gateways: &mut Vec<IpAddr>) -> Result<(), Malformed> {
    const HEADER: usize = 8;
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 0)?);
        let hop = rest.get(..length).filter(|hop| hop.len() >= HEADER).ok_or(Malformed("next hop"))?;
        for attribute in Attributes::after(hop, HEADER) {
            match attribute? {
                (libc::RTA_GATEWAY, value) => gateways.push(ip_of(value)?),
                (libc::RTA_VIA, value) => gateways.extend(via(value)?),
                _ => {}
            }
        }
        rest = rest.get(super::wire::aligned(length)..).unwrap_or_default();
    }
    Ok(())
}

/// All routes of both families.
pub(super) fn dump(requests: &mut Requests) -> Result<Table, Fault> {
    let mut all = Table::default();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let one = dump_family(requests, family)?;
        all.routes.extend(one.routes);
        all.next_hops.extend(one.next_hops);
        all.next_hop_objects |= one.next_hop_objects;
    }
    if all.next_hop_objects {
        all.next_hops.extend(next_hop::dump(requests)?);
    }
    Ok(all)
}

fn dump_family(requests: &mut Requests, family: AddressFamily) -> Result<Table, Fault> {
    requests.dump(question(family), |table: &mut Table, message| {
        let Some(seen) = read(message)? else { return Ok(()) };
        if seen.is_kept() {
            table.routes.insert(seen.key, seen.value);
        }
        table.next_hop_objects |= seen.next_hop_object;
        table.next_hops.extend(seen.gateways);
        Ok(())
    })
}

fn question(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    RouteNetlinkMessage::GetRoute(message)
}

/// A route through a link with our mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) link: u32,
    pub(super) destination: IpNet,
    pub(super) source: Option<IpAddr>,
    pub(super) table: u32,
}

/// The routes in the place of that one, of which each keeps it from being added: also those that the snapshot does not
/// have.
pub(super) fn in_place_of(requests: &mut Requests, wanted: Wanted) -> Result<Vec<Seen>, Fault> {
    let ipv6 = wanted.destination.addr().is_ipv6();
    let place = (wanted.table, wanted.destination, metric(ipv6));
    let family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    requests.dump(question(family), |list: &mut Vec<Seen>, message| {
        let there = |seen: &Seen| {
            let RouteKey { table, destination, metric, .. } = seen.key;
            !seen.partial && (table, destination, metric) == place
        };
        list.extend(read(message)?.filter(there));
        Ok(())
    })
}

/// Makes the route. `replace`: instead of the one that has its place.
pub(super) fn set(requests: &mut Requests, wanted: Wanted, replace: bool) -> Result<(), Fault> {
    let Wanted { link, destination, source, table } = wanted;
    let mut builder = named(link, destination, table)?;
    if destination.addr().is_ipv4() {
        builder = builder.scope(RouteScope::Link);
    }
    if let Some(source) = source {
        builder = builder.pref_source(source).map_err(|error| Fault::Broken(error.to_string()))?;
    }
    let flags = NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL };
    requests.order(RouteNetlinkMessage::NewRoute(builder.build()), flags)
}

/// Deletes the route with our mark that goes through that link.
pub(super) fn delete(
    requests: &mut Requests,
    link: u32,
    destination: IpNet,
    table: u32,
    metric: u32,
) -> Result<(), Fault> {
    let mut message = named(link, destination, table)?.priority(metric).build();
    message.header.scope = RouteScope::NoWhere;
    requests.order(RouteNetlinkMessage::DelRoute(message), 0)
}

fn named(link: u32, destination: IpNet, table: u32) -> Result<RouteMessageBuilder<IpAddr>, Fault> {
    let builder = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(link)
        .table_id(table)
        .protocol(RouteProtocol::Other(PROTOCOL));
    builder
        .destination_prefix(destination.network(), destination.prefix_len())
        .map_err(|error| Fault::Broken(error.to_string()))
}
