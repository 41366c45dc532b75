//! Next-hop objects: links and gateways that routes refer to by number (FRR makes such routes).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::raw::Raw;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{Attributes, MalformedError, ip_of, link_of, u32_of};
use crate::model::LinkIndex;
use crate::model::routing::{Hop, RouteKind, Way};

/// The attribute by which a route names such an object.
pub(in crate::kernel) const RTA_NH_ID: u16 = 30;

/// Length of `struct nhmsg`.
const HEADER: usize = 8;

/// The objects by their numbers. A group leads where its members lead.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kernel) struct NextHops {
    objects: BTreeMap<u32, NextHopObject>,
}

/// One object.
#[derive(Debug, Default, PartialEq)]
struct NextHopObject {
    link: LinkIndex,
    gateway: Option<IpAddr>,
    blackhole: bool,
    group: Vec<u32>,
}

impl NextHops {
    /// The way of a route that names this object. `None` if no such object is known.
    pub(in crate::kernel) fn way(&self, id: u32) -> Option<Way> {
        let object = self.objects.get(&id)?;
        if object.blackhole {
            return Some(Way { kind: RouteKind::Blackhole, hops: vec![] });
        }
        let members = object.group.iter().map(|member| self.objects.get(member));
        // Groups have no groups as members.
        let hops = match object.group.as_slice() {
            [] => vec![object.hop()],
            _ => members.map(|member| Some(member?.hop())).collect::<Option<_>>()?,
        };
        Some(Way { kind: RouteKind::Unicast, hops })
    }
}

impl NextHopObject {
    fn hop(&self) -> Hop {
        Hop { link: self.link, gateway: self.gateway }
    }
}

/// All next-hop objects.
pub(in crate::kernel) fn dump(requests: &mut Requests) -> Result<NextHops, RequestError> {
    const RTM_GETNEXTHOP: u16 = 106;
    const NHA_ID: u16 = 1;
    const NHA_GROUP: u16 = 2;
    const NHA_BLACKHOLE: u16 = 4;
    const NHA_OIF: u16 = 5;
    const NHA_GATEWAY: u16 = 6;
    requests.dump(Raw { kind: RTM_GETNEXTHOP, body: vec![0; HEADER] }, |all: &mut NextHops, message| {
        let (mut id, mut object) = (0, NextHopObject::default());
        for attribute in Attributes::after(message.payload, HEADER) {
            match attribute? {
                (NHA_ID, value) => id = u32_of(value)?,
                (NHA_GROUP, value) => object.group = members(value)?,
                (NHA_BLACKHOLE, _) => object.blackhole = true,
                (NHA_OIF, value) => object.link = link_of(value)?,
                (NHA_GATEWAY, value) => object.gateway = Some(ip_of(value)?),
                _ => {}
            }
        }
        all.objects.insert(id, object);
        Ok(())
    })
}

/// An array of `struct nexthop_grp`: the number of an object, and its weight.
fn members(value: &[u8]) -> Result<Vec<u32>, MalformedError> {
    const LENGTH: usize = 8;
    value.chunks(LENGTH).map(u32_of).collect()
}
