//! The objections of the host's own network to an address of a guest.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::intent::Intent;
use crate::model::near;
use crate::site::ROLES;
use crate::truth::{Address, Link, Neighbour, Route, Truth};

/// The host's network, as far as it matters for guests' addresses.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    truth: &'a Truth,
    pub(crate) intent: &'a Intent,
    /// All addresses of the host.
    own: BTreeSet<IpAddr>,
    gateways: BTreeSet<IpAddr>,
    /// The prefixes that are on-link on the uplink.
    on_link: Vec<IpNet>,
    /// The host's addresses on the uplink that packets may come from.
    sources: Vec<IpNet>,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(truth: &'a Truth, intent: &'a Intent) -> Ground<'a> {
        let uplink = intent.uplink.name;
        let on_uplink = truth.link(uplink).into_iter().flat_map(|link| &link.addresses);
        let mut on_link: Vec<IpNet> = on_uplink.filter_map(Address::net).collect();
        let direct = truth.routes.iter().filter(|route| {
            route.dev.as_deref() == Some(uplink) && route.gateway.is_none() && route.table() != "local"
        });
        on_link.extend(direct.filter_map(Route::network));
        Ground {
            truth,
            intent,
            own: truth.links.iter().flat_map(|link| &link.addresses).map(|address| address.local).collect(),
            gateways: truth.routes.iter().filter_map(|route| route.gateway).collect(),
            on_link,
            sources: truth.host_addresses(uplink).collect(),
        }
    }

    /// All reasons not to route an address of a guest, by the codes of the contract.
    pub(crate) fn objections(&self, guest: usize, mac: &str, seen: &Address) -> Vec<&'static str> {
        let address = seen.local;
        let configuration = self.intent.daemon.configuration;
        let allowed = configuration.allows(address);
        let off_link = !self.leads_to_uplink(address);
        let v6 = address.is_ipv6();
        let found = [
            (ROLES[guest].out, "unselected"),
            (seen.tentative, "tentative"),
            (seen.dadfailed, "duplicate"),
            (v6 && !configuration.ipv6(), "ipv6-off"),
            (configuration.denies(address), "denied"),
            (self.own.contains(&address), "host-address"),
            (!allowed && self.gateways.contains(&address), "next-hop"),
            (!allowed && off_link, "off-link"),
            (!allowed && off_link, "routed-elsewhere"),
            (self.is_network(address), "network-address"),
            (self.is_broadcast(address), "broadcast-address"),
            (self.is_held_on_lan(mac, address), "held-on-lan"),
            (self.is_route_taken(address), "route-taken"),
            (!self.sources.iter().any(|source| source.addr().is_ipv6() == v6), "no-source"),
        ];
        found.into_iter().filter(|(holds, _)| *holds).map(|(_, code)| code).collect()
    }

    /// The host's own longest route to an address leads to the uplink without a gateway. A link that is down
    /// has no routes of its own. Then the networks of its addresses count.
    fn leads_to_uplink(&self, address: IpAddr) -> bool {
        let up = self.truth.link(self.intent.uplink.name).is_some_and(Link::is_up);
        if !up {
            return near(address, self.on_link.iter().copied());
        }
        let main = self.truth.routes.iter().filter(|route| route.table() == "main" && !route.is_ours());
        let matching = main.filter_map(|route| {
            let destination = route.network().filter(|network| network.contains(&address))?;
            Some((destination.prefix_len(), route))
        });
        let matching: Vec<(u8, &Route)> = matching.collect();
        let longest = matching.iter().map(|(length, _)| *length).max();
        matching.iter().any(|(length, route)| {
            let direct = route.gateway.is_none() && route.dev.as_deref() == Some(self.intent.uplink.name);
            Some(*length) == longest && direct
        })
    }

    fn is_network(&self, address: IpAddr) -> bool {
        self.on_link.iter().any(|net| net.prefix_len() + 1 < net.max_prefix_len() && net.network() == address)
    }

    fn is_broadcast(&self, address: IpAddr) -> bool {
        let last = |net: &IpNet| net.prefix_len() < 31 && net.broadcast() == address;
        address.is_ipv4() && self.on_link.iter().any(last)
    }

    /// The host knows another machine with that address.
    fn is_held_on_lan(&self, mac: &str, address: IpAddr) -> bool {
        let other = |entry: &&Neighbour| {
            entry.address == address
                && entry.dev == self.intent.uplink.name
                && !entry.is("FAILED")
                && !entry.is("INCOMPLETE")
                && entry.mac.as_ref().is_some_and(|holder| holder != mac)
        };
        self.truth.neighbours.iter().any(|entry| other(&entry))
    }

    /// A foreign route stands where ours would.
    fn is_route_taken(&self, address: IpAddr) -> bool {
        let (v6, table) = (address.is_ipv6(), self.table(address.is_ipv6()));
        self.truth.routes.iter().any(|route| {
            let place = route.host() == Some(address) && route.table() == table;
            place && route.metric == metric(v6) && !route.is_ours()
        })
    }

    /// The table that our routes of a family belong to.
    pub(crate) fn table(&self, v6: bool) -> &'static str {
        let ahead = self.truth.rules.iter().any(|rule| rule.v6 == v6 && rule.precedes_main());
        if ahead { "77" } else { "main" }
    }

    /// The host's address is a good source for packets to a guest's address.
    pub(crate) fn is_source(&self, source: IpAddr, address: IpAddr) -> bool {
        let near_one = |net: &&IpNet| net.contains(&address);
        let mut fits = self.sources.iter().filter(|net| net.addr() == source);
        fits.clone().any(|net| near_one(&net))
            || fits.next().is_some() && !self.sources.iter().any(|net| near_one(&net))
    }

    /// The host's addresses on the uplink that packets may come from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = IpAddr> {
        self.sources.iter().map(IpNet::addr)
    }
}

/// Of a route that was requested without a source.
pub(crate) fn metric(v6: bool) -> u32 {
    if v6 { 1024 } else { 0 }
}
