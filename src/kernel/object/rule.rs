//! Policy rules of the host.

use std::collections::BTreeSet;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{
    Attributes, MalformedError, Message, family_of, ip_of, net, text_of, u8_at, u32_at, u32_of,
};
use crate::model::Family;
use crate::model::names::{PROTOCOL, TABLE, TABLE_MAIN};
use crate::model::routing::{Action, Rule};

/// Reads `RTM_NEWRULE` and `RTM_DELRULE`; `None` for families other than IPv4 and IPv6.
pub(in crate::kernel) fn read(message: &Message<'_>) -> Result<Option<Rule>, MalformedError> {
    const HEADER: usize = 12;
    const FIB_RULE_INVERT: u32 = 2;
    let payload = message.payload;
    let Some(family) = family_of(payload)? else { return Ok(None) };
    let (to_length, from_length) = (u8_at(payload, 1)?, u8_at(payload, 2)?);
    let mut seen = SeenAttributes { table: u32::from(u8_at(payload, 4)?), ..SeenAttributes::default() };
    let mut rule = Rule { family, ..Rule::default() };
    rule.inverted = u32_at(payload, 8)? & FIB_RULE_INVERT != 0;
    // IPv4 compares an unset source like any other address, IPv6 does not.
    let (mut from, mut to) = (family.unspecified(), family.unspecified());
    for attribute in Attributes::after(payload, HEADER) {
        let (kind, value) = attribute?;
        match kind {
            FRA_DST => to = ip_of(value)?,
            FRA_SRC => from = ip_of(value)?,
            FRA_PRIORITY => rule.priority = u32_of(value)?,
            FRA_PROTOCOL => rule.ours = value.first() == Some(&PROTOCOL),
            FRA_SUPPRESS_IFGROUP => rule.suppressed_group = Some(u32_of(value)?).filter(|it| *it != u32::MAX),
            FRA_SUPPRESS_PREFIXLEN => rule.suppressed_length = u8::try_from(u32_of(value)?).ok(),
            _ => seen.take_in(kind, value)?,
        }
    }
    rule.to = (to_length > 0).then(|| net(to, to_length)).transpose()?.map(|to| to.trunc());
    let from = net(from, from_length)?.trunc();
    let fits_unset = from_length == 0 || (family == Family::V4 && from.addr() == family.unspecified());
    let service = u8_at(payload, 3)?;
    rule.narrow =
        seen.narrow || !fits_unset || service != 0 || seen.mark & seen.mask.unwrap_or(u32::MAX) != 0;
    rule.action = match u8_at(payload, 7)? {
        // The kernel reads a rule without a table (`l3mdev`) in the same way.
        FR_ACT_TO_TBL if seen.table == 0 => Action::LookUp(TABLE_MAIN),
        FR_ACT_TO_TBL => Action::LookUp(seen.table),
        FR_ACT_GOTO => Action::Goto(seen.target),
        FR_ACT_NOP => Action::Nop,
        _ => Action::End,
    };
    Ok(Some(rule))
}

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;
const FRA_FLOWLABEL: u16 = 26;

const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_GOTO: u8 = 2;
const FR_ACT_NOP: u8 = 3;

/// The attributes that have no field of their own in a [`Rule`].
#[derive(Default)]
struct SeenAttributes {
    table: u32,
    target: u32,
    mark: u32,
    mask: Option<u32>,
    narrow: bool,
}

impl SeenAttributes {
    fn take_in(&mut self, kind: u16, value: &[u8]) -> Result<(), MalformedError> {
        match kind {
            FRA_TABLE => self.table = u32_of(value)?,
            FRA_GOTO => self.target = u32_of(value)?,
            FRA_FWMARK => self.mark = u32_of(value)?,
            FRA_FWMASK => self.mask = Some(u32_of(value)?),
            // For rules, the host's own packets come in by the loopback link.
            FRA_IIFNAME => self.narrow |= text_of(value) != "lo",
            FRA_UID_RANGE => self.narrow |= u32_of(value)? > 0,
            FRA_L3MDEV | FRA_DSCP => self.narrow |= value.first().is_some_and(|value| *value != 0),
            FRA_FLOWLABEL | FRA_TUN_ID => self.narrow |= value.iter().any(|byte| *byte != 0),
            FRA_OIFNAME | FRA_IP_PROTO | FRA_SPORT_RANGE | FRA_DPORT_RANGE => self.narrow = true,
            _ => {}
        }
        Ok(())
    }
}

/// All rules of both families. The kernel lists them in the order in which it uses them.
pub(in crate::kernel) fn dump(requests: &mut Requests) -> Result<BTreeSet<Rule>, RequestError> {
    let message = RuleMessage::default();
    requests.dump(RouteNetlinkMessage::GetRule(message), |list: &mut BTreeSet<Rule>, message| {
        if let Some(mut rule) = read(message)? {
            let last = list.range(Rule::first(rule.family, rule.priority)..).next_back();
            let last = last.filter(|last| (last.family, last.priority) == (rule.family, rule.priority));
            rule.order = last.map_or(0, |last| last.order + 1);
            list.insert(rule);
        }
        Ok(())
    })
}

/// Makes the rule that looks up our table, from all to all.
pub(in crate::kernel) fn add(
    requests: &mut Requests,
    family: Family,
    priority: u32,
) -> Result<(), RequestError> {
    requests.order(RouteNetlinkMessage::NewRule(ours(family, priority)), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes it.
pub(in crate::kernel) fn delete(
    requests: &mut Requests,
    family: Family,
    priority: u32,
) -> Result<(), RequestError> {
    requests.order(RouteNetlinkMessage::DelRule(ours(family, priority)), 0)
}

fn ours(family: Family, priority: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.into();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(priority),
        RuleAttribute::Table(TABLE),
        RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}
