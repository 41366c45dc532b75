//! The facts that every decision of a round depends on: the kernel's state, the configuration, their
//! consequences for all, and the memory of distrust.

mod host;
pub mod obstacle;
pub(super) mod routing;
pub(super) mod siblings;
mod trust;

use std::net::IpAddr;

use ipnet::IpNet;

pub use self::host::HostFacts;
use self::host::names;
pub use self::trust::{Suspect, Trust, UnclaimedAddress};
use crate::config::Config;
use crate::model::address::is_link_local;
use crate::model::inventory::{Nic, NicParent};
use crate::model::names::{MAIN_RULE_PRIORITY, TABLE, TABLE_LOCAL, TABLE_MAIN};
use crate::model::routing::{Action, is_host};
use crate::model::snapshot::{AddressKey, Link, LinkKind, Rule};
use crate::model::{Family, LinkIndex, Mac, Snapshot};

/// The facts that every verdict depends on: the kernel's state, the configuration, and their consequences for
/// all.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The kernel's state.
    pub snapshot: &'a Snapshot,
    /// The configuration.
    pub config: &'a Config,
    /// The host's facts.
    pub host: &'a HostFacts,
    /// The distrusted guests, and the unclaimed addresses that are held.
    pub trust: &'a Trust,
}

impl<'a> Facts<'a> {
    /// The existing shim of a parent.
    pub fn shim(&self, parent: LinkIndex) -> Option<&'a Link> {
        self.host.shims.get(&parent).and_then(|index| self.snapshot.links.get(index))
    }

    /// All existing shims, each with its parent's ifindex.
    pub fn shims(&self) -> impl Iterator<Item = (LinkIndex, &'a Link)> {
        let links = &self.snapshot.links;
        self.host.shims.iter().filter_map(|(parent, index)| Some((*parent, links.get(index)?)))
    }

    /// Our neighbour entry on the shim of that very parent names this MAC, or did so before it was dropped
    /// together with others.
    pub fn holds(&self, parent: LinkIndex, mac: Mac, address: IpAddr) -> bool {
        self.host.is_named(self.snapshot, parent, mac, address)
            || self.trust.unclaimed.contains(&UnclaimedAddress { parent, mac, address })
    }

    /// Our neighbour entry on any shim names this MAC.
    pub fn holds_anywhere(&self, mac: Mac, address: IpAddr) -> bool {
        self.host.shims.values().any(|shim| names(self.snapshot, *shim, mac, address))
    }

    /// The networks that a parent reaches without a gateway. Some may be there twice.
    pub fn networks(&self, parent: &Link) -> impl Iterator<Item = IpNet> {
        let standing = self.snapshot.routing.networks(parent.index);
        standing.chain(self.latent_networks(parent)).filter(|net| !is_link_local(net))
    }

    /// The networks of the addresses of a parent that is down. The kernel has dropped their routes and makes
    /// them again when the parent goes up. Until then none of them belongs to another link.
    pub(super) fn latent_networks(&self, parent: &Link) -> impl Iterator<Item = IpNet> {
        let (index, down) = (parent.index, !parent.up);
        let first = AddressKey { link: index, address: Family::V4.everything() };
        let of_link = self.snapshot.addresses.range(first..).take_while(move |(key, _)| key.link == index);
        let addresses = of_link.filter(move |_| down);
        let networks = addresses.filter(|(_, value)| !value.ours).map(|(key, value)| key.network(value));
        networks.filter(|net| !is_host(net))
    }

    /// Whether an address is the gateway of a route of the host. A gateway behind a shim of ours was put
    /// there on purpose, and is no machine that a guest could impersonate.
    pub fn is_next_hop(&self, address: IpAddr) -> bool {
        let is_shim = |link| self.snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some());
        self.snapshot.routing.links_to_gateway(address).any(|link| !is_shim(link))
    }

    /// The host's global addresses on a parent, of both families.
    pub fn host_addresses(&self, parent: LinkIndex) -> impl Iterator<Item = IpAddr> {
        self.host.sources.get(&parent).into_iter().flatten().map(|source| source.address)
    }

    /// The host's address that talks to `guest` over `parent`: the one in the same range, else the best of
    /// the family, else an own address of the shim. Own addresses come first if the host answers ARP only for
    /// addresses of the very link that is asked (`all.arp_ignore` 1 and 2).
    pub fn source(&self, parent: &Link, guest: IpAddr) -> Option<IpAddr> {
        let host = || {
            let mut best: Option<(bool, IpAddr)> = None;
            for source in self.host.sources.get(&parent.index).into_iter().flatten() {
                let address = source.address;
                let near = source.network.contains(&guest);
                if Family::of(address) == Family::of(guest)
                    && best.is_none_or(|(was_near, _)| near && !was_near)
                {
                    best = Some((near, address));
                }
            }
            best.map(|(_, address)| address)
        };
        let own = || self.own_addresses(&parent.name).find(|own| Family::of(*own) == Family::of(guest));
        if guest.is_ipv4() && matches!(self.snapshot.host.arp_ignore, 1 | 2) {
            own().or_else(host)
        } else {
            host().or_else(own)
        }
    }

    /// The own addresses that the configuration gives the shim of a parent.
    pub fn own_addresses(&self, parent: &str) -> impl Iterator<Item = IpAddr> {
        let config = self.config;
        let of_parent = config.parents.get(parent).and_then(|parent| parent.addresses.as_ref());
        let ipv6 = self.ipv6();
        of_parent.unwrap_or(&config.shim.addresses).iter().copied().filter(move |own| ipv6 || own.is_ipv4())
    }

    /// Whether guests are reached over IPv6 at all.
    pub fn ipv6(&self) -> bool {
        self.config.shim.ipv6 && self.snapshot.host.ipv6
    }

    /// The table that routes of a family go to: main, or our own if rules of the host precede main.
    pub fn table(&self, family: Family) -> u32 {
        if self.foreign_rules(family).next().is_some() { TABLE } else { TABLE_MAIN }
    }

    /// The rule that must exist so that [`Facts::table`] is looked up, by its priority: ahead of all foreign
    /// rules that precede main. A rule that is already ahead of them stays where it is.
    pub fn rule(&self, family: Family) -> Option<u32> {
        let first = self.foreign_rules(family).map(|rule| rule.priority).min()?;
        let standing = self.snapshot.rules.iter().filter(|rule| rule.ours && rule.family == family);
        let standing = standing.map(|rule| rule.priority).filter(|priority| *priority < first).min();
        Some(standing.unwrap_or(first.saturating_sub(1)))
    }

    /// The foreign rules that precede main. The kernel's own rule for table local does not count.
    fn foreign_rules(&self, family: Family) -> impl Iterator<Item = &Rule> {
        self.snapshot.rules.iter().filter(move |rule| {
            let local = rule.priority == 0 && rule.action == Action::LookUp(TABLE_LOCAL);
            rule.family == family && !rule.ours && !local && rule.priority < MAIN_RULE_PRIORITY
        })
    }

    /// The link that a NIC names as its parent.
    pub fn parent_of(&self, nic: &Nic) -> Option<&'a Link> {
        match &nic.parent {
            NicParent::Link { name, vlan } => self.resolve(name, *vlan),
            NicParent::Unknown(_) => None,
        }
    }

    /// The link that a NIC's parent names. A macvlan on a macvlan is really on the parent below, and a VLAN
    /// is the VLAN's interface.
    pub fn resolve(&self, name: &str, vlan: Option<u16>) -> Option<&'a Link> {
        let link = self.real_parent(self.snapshot.link_named(name)?);
        let Some(id) = vlan else { return Some(link) };
        let upon = |other: &&&Link| other.kind == LinkKind::Vlan(id) && other.lower == Some(link.index);
        let mut vlans = self.snapshot.links.values();
        vlans.by_ref().find(|other| upon(&other))
    }

    fn real_parent(&self, link: &'a Link) -> &'a Link {
        match (&link.kind, link.lower) {
            (LinkKind::Macvlan(_), Some(lower)) => self.snapshot.links.get(&lower).unwrap_or(link),
            _ => link,
        }
    }
}
