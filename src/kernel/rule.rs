//! Policy rules of the host.

use std::collections::BTreeSet;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;

use super::error::Fault;
use super::request::Requests;
use super::wire::{Attributes, Malformed, Message, u8_at, u32_of};
use crate::model::names::{PROTOCOL, TABLE};
use crate::model::snapshot::Rule;

/// Reads `RTM_NEWRULE` and `RTM_DELRULE`; `None` for families other than IPv4 and IPv6.
pub(super) fn read(message: &Message<'_>) -> Result<Option<Rule>, Malformed> {
    const HEADER: usize = 12;
    const FRA_PRIORITY: u16 = 6;
    const FRA_TABLE: u16 = 15;
    const FRA_PROTOCOL: u16 = 21;
    const FR_ACT_TO_TBL: u8 = 1;
    let payload = message.payload;
    let family = i32::from(u8_at(payload, 0)?);
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return Ok(None);
    }
    let mut table = u32::from(u8_at(payload, 4)?);
    let mut rule = Rule { ipv6: family == libc::AF_INET6, priority: 0, table: 0, ours: false };
    for attribute in Attributes::after(payload, HEADER) {
        let (kind, value) = attribute?;
        match kind {
            FRA_PRIORITY => rule.priority = u32_of(value)?,
            FRA_TABLE => table = u32_of(value)?,
            FRA_PROTOCOL => rule.ours = value.first() == Some(&PROTOCOL),
            _ => {}
        }
    }
    if u8_at(payload, 7)? == FR_ACT_TO_TBL {
        rule.table = table;
    }
    Ok(Some(rule))
}

/// All rules of both families.
pub(super) fn dump(requests: &mut Requests) -> Result<BTreeSet<Rule>, Fault> {
    let message = RuleMessage::default();
    requests.dump(RouteNetlinkMessage::GetRule(message), |list: &mut BTreeSet<Rule>, message| {
        list.extend(read(message)?);
        Ok(())
    })
}

/// Makes the rule that looks up our table, from all to all.
pub(super) fn add(requests: &mut Requests, ipv6: bool, priority: u32) -> Result<(), Fault> {
    requests.order(RouteNetlinkMessage::NewRule(ours(ipv6, priority)), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes it.
pub(super) fn delete(requests: &mut Requests, ipv6: bool, priority: u32) -> Result<(), Fault> {
    requests.order(RouteNetlinkMessage::DelRule(ours(ipv6, priority)), 0)
}

fn ours(ipv6: bool, priority: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(priority),
        RuleAttribute::Table(TABLE),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}
