//! The host's own routing: its routes, without ours, and its policy rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::names::{TABLE, TABLE_MAIN};
use super::{Family, LinkIndex};

/// The key of a route, by which the kernel tells whether two routes are the same. IPv6 treats the link as
/// part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// The routing table.
    pub table: u32,
    /// The destination.
    pub destination: IpNet,
    /// The priority (metric), as the kernel shows it.
    pub metric: u32,
    /// The outgoing link's ifindex; 0 for a multipath route.
    pub link: LinkIndex,
}

impl RouteKey {
    /// The address, if this is a host route in a table that ours go to: the kernel's main table or our own.
    pub fn host(&self) -> Option<IpAddr> {
        (is_host(&self.destination) && (self.table == TABLE_MAIN || self.table == TABLE))
            .then(|| self.destination.addr())
    }
}

/// Whether a range is one address.
pub fn is_host(range: &IpNet) -> bool {
    range.prefix_len() == range.max_prefix_len()
}

/// The kinds of route (`RTN_…`), as far as they make a difference to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of ip; ip-route(8) describes them")]
pub enum RouteKind {
    #[default]
    Unicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    Local,
    /// `broadcast`, `anycast`, `multicast`, `nat`.
    Other,
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteKind::Unicast => "unicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
            RouteKind::Throw => "throw",
            RouteKind::Local => "local",
            RouteKind::Other => "special",
        })
    }
}

/// One way out of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The outgoing link's ifindex; 0 if it is not known.
    pub link: LinkIndex,
    /// The gateway, if there is one.
    pub gateway: Option<IpAddr>,
}

/// The way of a route. A route has several hops if it is a multipath route or names a group of next-hop
/// objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The fate of packets.
    pub kind: RouteKind,
    /// The hops, in the kernel's order.
    pub hops: Vec<Hop>,
}

impl Way {
    /// A unicast way through one link.
    pub fn through(link: LinkIndex, gateway: Option<IpAddr>) -> Way {
        Way { kind: RouteKind::Unicast, hops: vec![Hop { link, gateway }] }
    }

    /// The links that it reaches without a gateway.
    pub fn direct(&self) -> impl Iterator<Item = LinkIndex> {
        let unicast = self.kind == RouteKind::Unicast;
        self.hops.iter().filter(move |hop| unicast && hop.gateway.is_none()).map(|hop| hop.link)
    }
}

/// The routes of the host, without ours. A router may have hundreds of thousands of them, of which most lead
/// the same way, so each way is kept once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    routes: BTreeMap<RouteKey, Arc<Way>>,
    /// Every way that a route takes, and the number of routes that take it.
    ways: BTreeMap<Arc<Way>, usize>,
    /// The gateways and links of all ways, with the number of ways that use each pair.
    gateways: BTreeMap<(IpAddr, LinkIndex), usize>,
    /// The networks that each link reaches without a gateway: link, network, table, metric.
    networks: BTreeSet<(LinkIndex, IpNet, u32, u32)>,
}

impl Routing {
    /// Puts a route in the place of the one with the same key, which it returns.
    pub fn put(&mut self, key: RouteKey, way: Way) -> Option<Arc<Way>> {
        let way = self.intern(way);
        let old = self.routes.insert(key, way.clone());
        if let Some(old) = &old {
            self.drop_networks(&key, old);
            self.forget(old);
        }
        if is_network(&key) {
            let networks = way.direct().map(|link| (link, key.destination, key.table, key.metric));
            self.networks.extend(networks);
        }
        old
    }

    /// Removes a route, and returns its way.
    pub fn take(&mut self, key: &RouteKey) -> Option<Arc<Way>> {
        let way = self.routes.remove(key)?;
        self.drop_networks(key, &way);
        self.forget(&way);
        Some(way)
    }

    fn drop_networks(&mut self, key: &RouteKey, way: &Way) {
        if is_network(key) && way.direct().next().is_some() {
            for link in way.direct() {
                self.networks.remove(&(link, key.destination, key.table, key.metric));
            }
            self.restore_networks(key);
        }
    }

    /// Another route to the same destination may lead to the same link.
    fn restore_networks(&mut self, key: &RouteKey) {
        let ways = self.at(key.table, key.destination).filter(|(other, _)| other.metric == key.metric);
        let networks = ways.flat_map(|(other, way)| {
            way.direct().map(|link| (link, other.destination, other.table, other.metric))
        });
        let networks: Vec<_> = networks.collect();
        self.networks.extend(networks);
    }

    fn intern(&mut self, way: Way) -> Arc<Way> {
        let known = self.ways.get_key_value(&way).map(|(way, _)| way.clone());
        let way = known.unwrap_or_else(|| Arc::new(way));
        let uses = self.ways.entry(way.clone()).or_default();
        *uses += 1;
        if *uses == 1 {
            for hop in &way.hops {
                if let Some(gateway) = hop.gateway {
                    *self.gateways.entry((gateway, hop.link)).or_default() += 1;
                }
            }
        }
        way
    }

    fn forget(&mut self, way: &Arc<Way>) {
        let Some(uses) = self.ways.get_mut(way) else { return };
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        self.ways.remove(way);
        for hop in &way.hops {
            let Some(gateway) = hop.gateway else { continue };
            let key = (gateway, hop.link);
            if let Some(uses) = self.gateways.get_mut(&key) {
                *uses -= 1;
                if *uses == 0 {
                    self.gateways.remove(&key);
                }
            }
        }
    }

    /// Removes the routes through only that link to destinations of that kind.
    pub fn take_link(&mut self, link: LinkIndex, which: impl Fn(&IpNet) -> bool) {
        if !self.leads_through(link) {
            return;
        }
        let through = self.routes.keys().filter(|key| key.link == link && which(&key.destination)).copied();
        for key in through.collect::<Vec<_>>() {
            self.take(&key);
        }
    }

    /// Whether any route leads through a link.
    pub fn leads_through(&self, link: LinkIndex) -> bool {
        self.ways.keys().any(|way| way.hops.iter().any(|hop| hop.link == link))
    }

    /// The way of the route with that key.
    pub fn get(&self, key: &RouteKey) -> Option<&Way> {
        self.routes.get(key).map(|way| &**way)
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = (&RouteKey, &Way)> {
        self.routes.iter().map(|(key, way)| (key, &**way))
    }

    /// The routes of a table to exactly that destination, lowest metric first.
    pub fn at(&self, table: u32, destination: IpNet) -> impl Iterator<Item = (&RouteKey, &Way)> {
        let key = |metric, link| RouteKey { table, destination, metric, link };
        self.routes
            .range(key(0, LinkIndex::NONE)..=key(u32::MAX, LinkIndex::LAST))
            .map(|(key, way)| (key, &**way))
    }

    /// The longest destination in a table that contains an address.
    ///
    /// Destinations are in the order of their first address, then of their length. Take the last one before
    /// the address. Either it contains the address, and is then the longest that does. Or it differs from the
    /// address at some bit. Then no destination that is longer than their common prefix can contain the
    /// address.
    pub fn longest(&self, table: u32, address: IpAddr) -> Option<IpNet> {
        let mut up_to = IpNet::from(address);
        loop {
            let first = RouteKey {
                table,
                destination: Family::of(address).everything(),
                metric: 0,
                link: LinkIndex::NONE,
            };
            let last = RouteKey { table, destination: up_to, metric: u32::MAX, link: LinkIndex::LAST };
            let (found, _) = self.routes.range(first..=last).next_back()?;
            if found.destination.contains(&address) {
                return Some(found.destination);
            }
            let common = common_bits(found.destination.addr(), address);
            up_to = IpNet::new(address, common).ok()?.trunc();
        }
    }

    /// The gateways of all routes, each with the link that it is used through.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, LinkIndex)> {
        self.gateways.keys().copied()
    }

    /// The links through which an address is used as a gateway.
    pub fn links_to_gateway(&self, address: IpAddr) -> impl Iterator<Item = LinkIndex> {
        self.gateways
            .range((address, LinkIndex::NONE)..=(address, LinkIndex::LAST))
            .map(|((_, link), _)| *link)
    }

    /// The networks that a link reaches without a gateway, in any table. Neither a default route nor a single
    /// host counts.
    pub fn networks(&self, link: LinkIndex) -> impl Iterator<Item = IpNet> {
        let first = (link, Family::V4.everything(), 0, 0);
        let networks = self.networks.range(first..).take_while(move |(its, ..)| *its == link);
        let mut last = None;
        networks.map(|(_, net, ..)| *net).filter(move |net| last.replace(*net) != Some(*net))
    }
}

/// Whether a route with that key, if it has no gateway, puts a network on its link.
pub fn is_network(key: &RouteKey) -> bool {
    key.destination.prefix_len() > 0 && !is_host(&key.destination)
}

/// How many leading bits two addresses of one family have in common.
fn common_bits(a: IpAddr, b: IpAddr) -> u8 {
    let bits = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    };
    u8::try_from(bits).unwrap_or(u8::MAX)
}

/// A policy rule, as far as it concerns an unmarked packet of an unbound socket of the host. The packet's
/// source is not chosen yet, and nothing is known of its protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The family of its packets.
    pub family: Family,
    /// Its place in the order, lowest first …
    pub priority: u32,
    /// … and among those of the same priority.
    pub order: u32,
    /// Its action.
    pub action: Action,
    /// Its protocol is ours.
    pub ours: bool,
    /// Its destinations, if not all.
    pub to: Option<IpNet>,
    /// A selector other than the destination keeps such a packet out: source, mark, device, user, service,
    /// protocol, port.
    pub narrow: bool,
    /// It applies to the packets that its selectors do not fit.
    pub inverted: bool,
    /// Routes to destinations of this length or shorter do not count.
    pub suppressed_length: Option<u8>,
    /// Routes through links of this group do not count.
    pub suppressed_group: Option<u32>,
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It looks up a table.
    LookUp(u32),
    /// It goes on with the rule of that priority.
    Goto(u32),
    /// It does nothing.
    #[default]
    Nop,
    /// It ends the look-up: `unreachable`, `blackhole`, `prohibit`.
    End,
}

impl Rule {
    /// A rule for all packets that looks up a table.
    pub fn look_up(family: Family, priority: u32, table: u32) -> Rule {
        Rule { family, priority, action: Action::LookUp(table), ..Rule::default() }
    }

    /// A rule that sorts before all others of a family and priority.
    pub fn first(family: Family, priority: u32) -> Rule {
        Rule { family, priority, action: Action::LookUp(0), ..Rule::default() }
    }

    /// Whether such a packet to that address is for this rule.
    pub fn fits(&self, address: IpAddr) -> bool {
        let fits = !self.narrow && self.to.is_none_or(|to| to.contains(&address));
        fits != self.inverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: u32, destination: &str) -> RouteKey {
        RouteKey { table, destination: destination.parse().unwrap(), metric: 0, link: LinkIndex(2) }
    }

    #[test]
    fn the_longest_destination_is_found_as_by_trying_all() {
        let nets = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.64.0.0/10",
            "10.128.0.0/9",
            "10.0.0.0/24",
            "10.0.0.7/32",
            "10.0.1.0/25",
            "10.0.1.128/26",
            "192.0.2.0/24",
            "192.0.2.1/32",
            "fd00::/8",
            "fd00::/64",
            "fd00::1/128",
            "2001:db8::/32",
        ];
        // Every subset of a few of them, so that each is missing in some.
        for mask in 0u32..1 << nets.len() {
            if mask % 37 != 0 {
                continue;
            }
            let mut routing = Routing::default();
            let chosen = nets.iter().enumerate().filter(|(bit, _)| mask & 1 << bit != 0).map(|(_, net)| *net);
            let chosen: Vec<IpNet> = chosen.map(|net| net.parse().unwrap()).collect();
            for net in &chosen {
                routing.put(
                    RouteKey { table: 254, destination: *net, metric: 0, link: LinkIndex(2) },
                    Way::through(LinkIndex(2), None),
                );
            }
            routing.put(key(100, "10.0.0.0/30"), Way::through(LinkIndex(2), None));
            routing.put(key(300, "10.0.0.0/30"), Way::through(LinkIndex(2), None));
            for address in [
                "10.0.0.0",
                "10.0.0.7",
                "10.0.0.8",
                "10.0.1.200",
                "10.0.1.1",
                "10.65.1.1",
                "10.200.0.1",
                "9.9.9.9",
                "192.0.2.1",
                "192.0.2.2",
                "255.255.255.255",
                "fd00::1",
                "fd00::2",
                "fd01::",
                "2001:db8::9",
                "::1",
                "ffff::",
            ] {
                let address: IpAddr = address.parse().unwrap();
                let by_trying =
                    chosen.iter().filter(|net| net.contains(&address)).max_by_key(|net| net.prefix_len());
                assert_eq!(routing.longest(254, address), by_trying.copied(), "{address} in {chosen:?}");
            }
        }
    }

    #[test]
    fn a_removed_route_leaves_nothing_behind() {
        let mut routing = Routing::default();
        let gateway: IpAddr = "10.0.0.254".parse().unwrap();
        let of = |metric| RouteKey { metric, ..key(254, "10.9.0.0/16") };
        routing.put(of(1), Way::through(LinkIndex(2), Some(gateway)));
        routing.put(of(2), Way::through(LinkIndex(2), Some(gateway)));
        routing.put(of(3), Way::through(LinkIndex(2), None));
        assert_eq!(routing.links_to_gateway(gateway).collect::<Vec<_>>(), [LinkIndex(2)]);
        assert_eq!(routing.networks(LinkIndex(2)).count(), 1);
        routing.put(of(1), Way::through(LinkIndex(3), None));
        assert_eq!(routing.links_to_gateway(gateway).collect::<Vec<_>>(), [LinkIndex(2)]);
        routing.take(&of(2));
        assert_eq!(routing.gateways().count(), 0);
        for metric in 1..4 {
            routing.take(&of(metric));
        }
        assert_eq!(routing, Routing::default());
    }

    #[test]
    fn a_network_stays_while_one_of_two_routes_leads_to_it() {
        let mut routing = Routing::default();
        let both = RouteKey { link: LinkIndex::NONE, ..key(254, "10.9.0.0/16") };
        let hops = [2, 3].map(|link| Hop { link: LinkIndex(link), gateway: None }).to_vec();
        routing.put(both, Way { kind: RouteKind::Unicast, hops });
        routing.put(key(254, "10.9.0.0/16"), Way::through(LinkIndex(2), None));
        routing.take(&both);
        assert_eq!((routing.networks(LinkIndex(2)).count(), routing.networks(LinkIndex(3)).count()), (1, 0));
    }
}
