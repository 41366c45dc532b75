//! The IPv4 addresses of the host that a shim answers for when guests ask with ARP.
//!
//! The kernel answers on any link for any address of the host. On the uplink the operator may have stopped
//! that (`arp_ignore`): a real server behind a load balancer has the service's address too, and must not be
//! found at it. The shim would answer all the same. So its filter lets guests ask for no other addresses than
//! these. IPv6 needs no such list, because a shim answers only for its proxy entries.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::shim::DesiredShim;
use crate::model::LinkIndex;
use crate::model::snapshot::LinkKind;
use crate::reconcile::facts::Facts;

/// The addresses that guests may ask for, each as a range of one, and the configured ranges, because
/// announcements of the strangers there must be heard. No range lies within another.
pub(super) fn answers(facts: &Facts<'_>, parent: LinkIndex, shim: &DesiredShim) -> BTreeSet<Ipv4Net> {
    let standing = shim.link.index;
    let here = |link: LinkIndex| link == parent || Some(link) == standing || is_beside(facts, link, parent);
    let hosts = facts.snapshot.addresses.iter().filter(|(_, address)| !address.ours);
    let hosts = hosts.filter_map(|(key, _)| {
        let IpAddr::V4(address) = key.address.addr() else { return None };
        (here(key.link) || is_answered_on(facts, parent, address)).then_some(address)
    });
    let own = shim.addresses.iter().filter_map(|address| match address.addr() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let ranges: BTreeSet<Ipv4Net> = shim.ranges.keys().filter_map(range).collect();
    let all: BTreeSet<Ipv4Net> = hosts.chain(own).map(Ipv4Net::from).chain(ranges.iter().copied()).collect();
    let within = |one: &Ipv4Net| ranges.iter().any(|range| range != one && range.contains(one));
    all.iter().copied().filter(|one| !within(one)).collect()
}

fn range(range: &IpNet) -> Option<Ipv4Net> {
    match range {
        IpNet::V4(range) => Some(range.trunc()),
        IpNet::V6(_) => None,
    }
}

/// A macvlan link of the host itself on that parent, as keepalived makes one for a virtual MAC.
fn is_beside(facts: &Facts<'_>, link: LinkIndex, parent: LinkIndex) -> bool {
    let link = facts.snapshot.links.get(&link);
    link.is_some_and(|link| {
        matches!(link.kind, LinkKind::Macvlan(_))
            && link.lower == Some(parent)
            && link.shim_parent().is_none()
    })
}

/// An address of another link, if the parent itself would answer for it and guests may be expected to ask.
/// Either the parent reaches its range without a gateway, or the configuration admits guests there.
fn is_answered_on(facts: &Facts<'_>, parent: LinkIndex, address: Ipv4Addr) -> bool {
    let Some(link) = facts.snapshot.links.get(&parent) else { return false };
    let near = |address: IpAddr| {
        facts.networks(link).any(|range| range.contains(&address))
            || facts.config.policy.allow.iter().any(|range| range.contains(&address))
    };
    link.arp_ignore.max(facts.snapshot.host.arp_ignore) == 0 && near(address.into())
}
