//! What the host's own network allows: facts that every verdict stands on. They change seldom, guests'
//! addresses often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::desired::Memory;
use super::kin::reached_at;
use super::suspects::Suspect;
use crate::config::Config;
use crate::model::address::{is_global_unicast, is_link_local};
use crate::model::inventory::{Inventory, Mode};
use crate::model::names::{MAIN_RULE_PRIORITY, TABLE, TABLE_LOCAL, TABLE_MAIN, metric, shim_name};
use crate::model::routing::{Action, is_host};
use crate::model::snapshot::{AddressKey, ChildKey, Link, LinkKind, RouteKey, RouteKind, Rule};
use crate::model::status::Problem;
use crate::model::{Code, Family, LinkIndex, Mac, Snapshot};

/// What every verdict stands on: the kernel's state, the configuration, and what follows from them for all.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The kernel's state.
    pub snapshot: &'a Snapshot,
    /// The configuration.
    pub config: &'a Config,
    /// The host's facts.
    pub facts: &'a HostFacts,
}

/// The host's facts, gathered once for all verdicts. They hold until [`crate::model::Changes::all`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Every address of the host, on any link, and every one that the configuration gives to a shim.
    pub own: BTreeSet<IpAddr>,
    /// The members of the servers' clusters by their addresses.
    pub members: BTreeMap<IpAddr, String>,
    /// The host's addresses of each link that may be a preferred source, best first.
    sources: BTreeMap<LinkIndex, Vec<PreferredSource>>,
    /// The ifindex of the standing shim of each parent.
    shims: BTreeMap<LinkIndex, LinkIndex>,
    /// Those of which an address turned out to be another machine's.
    pub(super) distrusted: BTreeSet<Suspect>,
    /// What was held though no server vouches for it: the kernel drops our entries with a link's carrier or last address.
    pub(super) unclaimed: BTreeSet<Holding>,
    /// The addresses of which the LAN could not be asked, and why.
    pub(super) unasked: BTreeMap<IpAddr, String>,
    /// The children by their MAC.
    by_mac: BTreeSet<(Mac, ChildKey)>,
    /// The children by their MAC and by those at which they are reached.
    by_reach: BTreeSet<(Mac, ChildKey)>,
}

/// Who holds an address on a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    /// The parent's ifindex.
    pub parent: LinkIndex,
    /// The MAC at which the holder is reached.
    pub mac: Mac,
    /// The address.
    pub address: IpAddr,
}

/// An address that packets to a guest may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PreferredSource {
    /// Worse ones later: deprecated, then secondary or temporary.
    deprecated: bool,
    secondary: bool,
    address: IpAddr,
    network: IpNet,
}

impl HostFacts {
    /// Gathers them.
    pub fn gather(config: &Config, inventory: &Inventory, snapshot: &Snapshot, memory: &Memory) -> HostFacts {
        let members = inventory.servers.values().flat_map(|server| server.peers.clone());
        let given = config.parents.values().filter_map(|parent| parent.addresses.as_ref());
        let given = given.chain([&config.shim.addresses]).flatten().copied();
        // Ours are there because the configuration gives them, or about to go.
        let theirs = snapshot.addresses.iter().filter(|(_, address)| !address.ours);
        let shim_links: BTreeSet<LinkIndex> = snapshot.shims().map(|(_, link)| link.index).collect();
        let mut facts = HostFacts {
            own: theirs.map(|(key, _)| key.address.addr()).chain(given).collect(),
            members: members.collect(),
            shims: standing_shims(snapshot, &memory.refused_macs),
            distrusted: memory.distrusted.clone(),
            unclaimed: memory.unclaimed.clone(),
            unasked: memory.unasked.clone(),
            by_mac: snapshot.children.iter().map(|(key, child)| (child.mac, *key)).collect(),
            ..HostFacts::default()
        };
        facts.by_reach.clone_from(&facts.by_mac);
        for (key, child) in snapshot.children.iter().filter(|(_, child)| child.mode != Mode::Bridge) {
            facts.by_reach.extend(reached_at(snapshot, *key, child).into_iter().map(|mac| (mac, *key)));
        }
        for (key, address) in &snapshot.addresses {
            if shim_links.contains(&key.link) || address.ours {
                continue;
            }
            if address.usable && is_global_unicast(key.address.addr()) {
                facts.sources.entry(key.link).or_default().push(PreferredSource {
                    deprecated: address.deprecated,
                    secondary: address.secondary,
                    address: key.address.addr(),
                    network: key.network(address),
                });
            }
        }
        for sources in facts.sources.values_mut() {
            sources.sort();
        }
        facts
    }

    /// The children with a MAC.
    pub fn children_with(&self, mac: Mac) -> impl Iterator<Item = &ChildKey> {
        let all = (mac, ChildKey::FIRST)..=(mac, ChildKey::LAST);
        self.by_mac.range(all).map(|(_, child)| child)
    }

    /// The children with a MAC, and those that are reached at it.
    pub fn children_at(&self, mac: Mac) -> impl Iterator<Item = &ChildKey> {
        let all = (mac, ChildKey::FIRST)..=(mac, ChildKey::LAST);
        self.by_reach.range(all).map(|(_, child)| child)
    }

    /// Our neighbour entry on the shim of that very parent names this MAC, or did so before it went with other things.
    pub fn holds(&self, snapshot: &Snapshot, parent: LinkIndex, mac: Mac, address: IpAddr) -> bool {
        self.is_named(snapshot, parent, mac, address)
            || self.unclaimed.contains(&Holding { parent, mac, address })
    }

    /// Our neighbour entry on the shim of that very parent names this MAC now.
    pub(super) fn is_named(&self, snapshot: &Snapshot, parent: LinkIndex, mac: Mac, address: IpAddr) -> bool {
        self.shims.get(&parent).is_some_and(|shim| names(snapshot, *shim, mac, address))
    }
}

fn names(snapshot: &Snapshot, shim: LinkIndex, mac: Mac, address: IpAddr) -> bool {
    let entry = snapshot.neighbours.get(&(address, shim));
    entry.is_some_and(|entry| entry.ours && entry.mac == Some(mac))
}

impl<'a> Ground<'a> {
    /// The standing shim of a parent.
    pub fn shim(&self, parent: LinkIndex) -> Option<&'a Link> {
        self.facts.shims.get(&parent).and_then(|index| self.snapshot.links.get(index))
    }

    /// All standing shims, each with its parent's ifindex.
    pub fn shims(&self) -> impl Iterator<Item = (LinkIndex, &'a Link)> {
        let links = &self.snapshot.links;
        self.facts.shims.iter().filter_map(|(parent, index)| Some((*parent, links.get(index)?)))
    }

    /// Our neighbour entry on the shim of that very parent names this MAC, or did so before it went with other things.
    pub fn holds(&self, parent: LinkIndex, mac: Mac, address: IpAddr) -> bool {
        self.facts.holds(self.snapshot, parent, mac, address)
    }

    /// Our neighbour entry on any shim names this MAC.
    pub fn holds_anywhere(&self, mac: Mac, address: IpAddr) -> bool {
        self.facts.shims.values().any(|shim| names(self.snapshot, *shim, mac, address))
    }

    /// The networks that a parent reaches without a gateway; some of them perhaps twice.
    pub fn networks(&self, parent: &Link) -> impl Iterator<Item = IpNet> {
        let standing = self.snapshot.routing.networks(parent.index);
        standing.chain(self.latent_networks(parent)).filter(|net| !is_link_local(net))
    }

    /// The networks of the addresses of a parent that is down. The kernel has dropped their routes and makes them anew
    /// when it goes up: until then nothing has become another's.
    pub(super) fn latent_networks(&self, parent: &Link) -> impl Iterator<Item = IpNet> {
        let (index, down) = (parent.index, !parent.up);
        let first = AddressKey { link: index, address: Family::V4.everything() };
        let of_link = self.snapshot.addresses.range(first..).take_while(move |(key, _)| key.link == index);
        let addresses = of_link.filter(move |_| down);
        let networks = addresses.filter(|(_, value)| !value.ours).map(|(key, value)| key.network(value));
        networks.filter(|net| !is_host(net))
    }

    /// An address is the gateway of a route of the host. One behind a shim of ours was put there on purpose, and is no
    /// machine that a guest could pose as.
    pub fn is_next_hop(&self, address: IpAddr) -> bool {
        let is_shim = |link| self.snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some());
        self.snapshot.routing.links_to_gateway(address).any(|link| !is_shim(link))
    }

    /// The host's global addresses on a parent, of both families.
    pub fn host_addresses(&self, parent: LinkIndex) -> impl Iterator<Item = IpAddr> {
        self.facts.sources.get(&parent).into_iter().flatten().map(|source| source.address)
    }

    /// The host's address that talks to `guest` over `parent`: the one in the same range, else the best
    /// of the family, else an own address of the shim. Own addresses come first where the host
    /// answers ARP only for addresses of the very link that is asked (`all.arp_ignore` 1 and 2).
    pub fn source(&self, parent: &Link, guest: IpAddr) -> Option<IpAddr> {
        let host = || {
            let mut best: Option<(bool, IpAddr)> = None;
            for source in self.facts.sources.get(&parent.index).into_iter().flatten() {
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

    /// The table that routes of a family go to: main, or our own where rules of the host precede main.
    pub fn table(&self, family: Family) -> u32 {
        if self.foreign_rules(family).next().is_some() { TABLE } else { TABLE_MAIN }
    }

    /// A route that stands where ours should and is not ours is never touched.
    pub fn route_in_the_way(&self, destination: IpNet) -> Option<Problem> {
        let family = Family::of(destination);
        let key = |link| RouteKey { table: self.table(family), destination, metric: metric(family), link };
        let mut routes = self.snapshot.routes.range(key(LinkIndex::NONE)..=key(LinkIndex::LAST));
        let (key, route) = routes.find(|(_, route)| !route.ours)?;
        let link = self.snapshot.links.get(&key.link).map_or("?", |link| link.name.as_str());
        let (what, dev) = match route.kind {
            RouteKind::Unicast => (format!("route to {destination} through {link}"), format!(" dev {link}")),
            kind => (format!("{kind} route to {destination}"), String::new()),
        };
        let in_table = if key.table == TABLE { " table 77" } else { "" };
        let family = if family == Family::V6 { "-6 " } else { "" };
        Some(Problem::new(
            Code::RouteTaken,
            destination.to_string(),
            format!("a {what} that is not ours stands in the way"),
            format!("if nothing needs it: ip {family}route delete {destination}{dev}{in_table}"),
        ))
    }

    /// The rule that must stand so that [`Ground::table`] is looked up, by its priority: ahead of all
    /// foreign rules that precede main. One that already stands there stays where it is.
    pub fn rule(&self, family: Family) -> Option<u32> {
        let first = self.foreign_rules(family).map(|rule| rule.priority).min()?;
        let standing = self.snapshot.rules.iter().filter(|rule| rule.ours && rule.family == family);
        let standing = standing.map(|rule| rule.priority).filter(|priority| *priority < first).min();
        Some(standing.unwrap_or(first.saturating_sub(1)))
    }

    /// The foreign rules that precede main. The kernel's own look-up of table local is none of them.
    fn foreign_rules(&self, family: Family) -> impl Iterator<Item = &Rule> {
        self.snapshot.rules.iter().filter(move |rule| {
            let local = rule.priority == 0 && rule.action == Action::LookUp(TABLE_LOCAL);
            rule.family == family && !rule.ours && !local && rule.priority < MAIN_RULE_PRIORITY
        })
    }

    /// The link that a NIC's parent names: macvlan on macvlan ends on the real parent, and a VLAN is the
    /// VLAN's interface.
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

/// The shim of each parent. If two bear our mark, the one with the right name counts, then the older. One that
/// cannot serve does not count: in another mode, or with a MAC that keeps it from going up.
fn standing_shims(snapshot: &Snapshot, refused_macs: &BTreeSet<Mac>) -> BTreeMap<LinkIndex, LinkIndex> {
    let mut shims: BTreeMap<LinkIndex, &Link> = BTreeMap::new();
    for (parent, link) in snapshot.shims() {
        let refused = !link.up && link.mac.is_some_and(|mac| refused_macs.contains(&mac));
        if refused || link.kind != LinkKind::Macvlan(Mode::Bridge) {
            continue;
        }
        let Some(name) = snapshot.links.get(&parent).map(|link| shim_name(&link.name)) else { continue };
        let best = shims.entry(parent).or_insert(link);
        if best.name != name && link.name == name {
            *best = link;
        }
    }
    shims.into_iter().map(|(parent, link)| (parent, link.index)).collect()
}
