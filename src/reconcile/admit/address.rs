//! Rules about the address itself, the host's own addresses and the configuration.

use std::net::IpAddr;

use ipnet::IpNet;

use super::case::Case;
use super::verdict::Why;
use crate::model::address::is_global_unicast;
use crate::model::snapshot::GuestAddress;

pub(super) fn not_global(case: &Case<'_>) -> Option<Why> {
    let ip = case.address;
    (!is_global_unicast(ip)).then(|| Why::of(format!("{ip} is not a global unicast address")))
}

pub(super) fn ipv6_off(case: &Case<'_>) -> Option<Why> {
    if case.address.is_ipv4() || case.facts.ipv6() {
        return None;
    }
    let why = match case.facts.config.shim.ipv6 {
        true => "the kernel has IPv6 switched off",
        false => "[shim] ipv6 is false",
    };
    Some(Why::of(format!("{why}, so no IPv6 address is routed")))
}

pub(super) fn tentative(case: &Case<'_>) -> Option<Why> {
    let message = "the guest is still asking the LAN whether the address is free";
    (case.state == GuestAddress::Tentative).then(|| Why::of(message))
}

pub(super) fn duplicate(case: &Case<'_>) -> Option<Why> {
    let message = "the guest found another machine with this address";
    (case.state == GuestAddress::Duplicate).then(|| Why::of(message))
}

pub(super) fn denied(case: &Case<'_>) -> Option<Why> {
    let range = case.facts.config.policy.deny.iter().find(|range| range.contains(&case.address))?;
    Some(Why::of(format!("policy.deny has {range}")))
}

pub(super) fn host_address(case: &Case<'_>) -> Option<Why> {
    let ip = case.address;
    let is_own = case.host().own.contains(&ip);
    is_own.then(|| Why::of(format!("{ip} is an address of this host")))
}

pub(super) fn cluster_member(case: &Case<'_>) -> Option<Why> {
    let ip = case.address;
    let name = case.host().members.get(&ip)?;
    Some(Why::of(format!("{ip} is the address of the cluster member {name}")))
}

/// The first address of a network. Point-to-point ranges have none.
pub(super) fn network_address(case: &Case<'_>) -> Option<Why> {
    reserved(case, |range, ip| match range {
        IpNet::V4(range) => range.prefix_len() <= 30 && ip == range.network(),
        IpNet::V6(range) => range.prefix_len() <= 126 && ip == range.network(),
    })
}

/// The last address of an IPv4 network.
pub(super) fn broadcast_address(case: &Case<'_>) -> Option<Why> {
    reserved(case, |range, ip| match range {
        IpNet::V4(range) => range.prefix_len() <= 30 && ip == range.broadcast(),
        IpNet::V6(_) => false,
    })
}

/// A network of the parent in which no machine can have the address.
fn reserved(case: &Case<'_>, is_reserved: fn(&IpNet, IpAddr) -> bool) -> Option<Why> {
    let ip = case.address;
    let mut networks = case.facts.networks(case.parent).filter(|range| range.contains(&ip));
    let range = networks.find(|range| is_reserved(range, ip))?;
    Some(Why::of(format!("{ip} is reserved in {range}")))
}
