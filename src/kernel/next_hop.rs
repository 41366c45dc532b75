//! Next-hop objects: gateways that routes refer to by number (FRR makes such routes).

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::NetlinkSerializable;

use super::error::Fault;
use super::request::Requests;
use super::wire::{Attributes, ip_of};

/// The attribute of a route that names such an object.
pub(super) const RTA_NH_ID: u16 = 30;

/// Length of `struct nhmsg`.
const HEADER: usize = 8;

/// The gateways of all next-hop objects.
pub(super) fn dump(requests: &mut Requests) -> Result<BTreeSet<IpAddr>, Fault> {
    const NHA_GATEWAY: u16 = 6;
    requests.dump(All, |list: &mut BTreeSet<IpAddr>, message| {
        for attribute in Attributes::after(message.payload, HEADER) {
            if let (NHA_GATEWAY, value) = attribute? {
                list.insert(ip_of(value)?);
            }
        }
        Ok(())
    })
}

/// The question, which `netlink-packet-route` does not have: an empty `struct nhmsg`.
#[derive(Clone)]
struct All;

impl NetlinkSerializable for All {
    fn message_type(&self) -> u16 {
        const RTM_GETNEXTHOP: u16 = 106;
        RTM_GETNEXTHOP
    }

    fn buffer_len(&self) -> usize {
        HEADER
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}
