//! The ordered difference between what should exist and what exists.
//!
//! The order is a safety law. Adding: everything on a shim before it goes up, a neighbour entry before its
//! route (else the host asks for the guest on the wire with the shim's MAC), routes before the rule that
//! looks them up. Deleting comes after adding, and in the opposite order, but for what stands in the way of
//! adding. What does not bear our mark is never touched.

mod surplus;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::desired::{Desired, Shim};
use crate::model::inventory::Mode;
use crate::model::plan::When;
use crate::model::snapshot::{Child, GuestAddress, Link, LinkKind, NeighbourState, RouteKey};
use crate::model::{Mac, NicKey, Op, Plan, ShimRef, Snapshot, Step};

/// The metric of our routes, as the kernel shows it: IPv6 turns 0 into 1024.
pub fn metric(ipv6: bool) -> u32 {
    if ipv6 { 1024 } else { 0 }
}

/// What has to be done.
pub fn diff(desired: &Desired, snapshot: &Snapshot) -> Plan {
    let mut steps = Steps { plan: Plan::new(), gone: BTreeSet::new(), desired, snapshot };
    let shims = || desired.shims.values().filter(|shim| shim.obstacle.is_none());
    for shim in shims() {
        steps.complete(shim);
    }
    for shim in shims() {
        steps.route(shim);
    }
    steps.add_rules();
    for (link, link_name, address) in &desired.probes {
        let op = Op::Probe { link: *link, link_name: link_name.clone(), address: *address };
        steps.now(op, "somebody on the LAN was known to hold it");
    }
    steps.delete_surplus();
    steps.plan
}

struct Steps<'a> {
    plan: Plan,
    /// Links that the plan has deleted, with all that is on them.
    gone: BTreeSet<u32>,
    desired: &'a Desired,
    snapshot: &'a Snapshot,
}

impl Steps<'_> {
    fn now(&mut self, op: Op, why: impl Into<String>) {
        self.plan.push(Step { op, when: When::Now, why: why.into() });
    }

    /// The shim itself, and all upon it but its routes.
    fn complete(&mut self, desired: &Shim) {
        let shim = &desired.shim;
        let standing = shim.index.and_then(|index| self.snapshot.links.get(&index));
        if standing.is_none() {
            let parent = self.snapshot.link_named(&desired.parent).map_or(0, |link| link.index);
            self.make_way(&shim.name, parent);
            let op = Op::CreateShim {
                shim: shim.clone(),
                parent,
                parent_name: desired.parent.clone(),
                mac: desired.mac,
                mtu: desired.mtu,
            };
            self.now(op, desired.why.clone());
        }
        if standing.is_some_and(|link| link.mtu != desired.mtu) {
            let why = format!("{} has it", desired.parent);
            self.now(Op::SetMtu { shim: shim.clone(), mtu: desired.mtu }, why);
        }
        if standing.is_none_or(|link| link.multicast) {
            self.now(Op::MulticastOff { shim: shim.clone() }, "the LAN must not hear the shim");
        }
        let settings = shim.index.and_then(|index| self.snapshot.settings.get(&index));
        for (setting, value) in &desired.settings {
            let stands = settings.and_then(|settings| settings.get(setting));
            // A setting that the kernel does not have on a standing shim cannot be written either.
            if settings.is_none() || stands.is_some_and(|stands| stands != value) {
                let op = Op::Set { shim: shim.clone(), setting: *setting, value: *value };
                self.now(op, "a shim is quiet and deaf to strangers");
            }
        }
        if self.is_flushed(desired) {
            self.delete_addresses_of(desired);
        }
        for address in &desired.addresses {
            if !self.has_address(shim, *address) {
                self.now(
                    Op::AddAddress { shim: shim.clone(), address: *address },
                    "the configuration gives it",
                );
            }
        }
        for address in &desired.proxies {
            let stands =
                shim.index.is_some_and(|index| self.snapshot.proxies.contains_key(&(index, *address)));
            if !stands {
                let why = format!("{} has it, and guests ask for it", desired.parent);
                self.now(Op::AddProxy { shim: shim.clone(), address: *address }, why);
            }
        }
        for (address, host) in &desired.hosts {
            let flushed = address.is_ipv4() && self.is_flushed(desired);
            if flushed || !self.has_neighbour(shim, *address, host.mac) {
                let op = Op::SetNeighbour { shim: shim.clone(), address: *address, mac: host.mac };
                let (when, why) = match self.holder_may_return(shim, *address, host.mac) {
                    true => (
                        When::AfterBreath,
                        format!("{}, and its last holder no longer", reason(host.nic.as_ref())),
                    ),
                    false => (When::Now, reason(host.nic.as_ref())),
                };
                self.plan.push(Step { op, when, why });
            }
        }
        if standing.is_none_or(|link| !link.up) {
            self.now(Op::SetUp { shim: shim.clone() }, "it is complete");
        }
    }

    /// A marked link of that name that nobody desires: a new one needs its name.
    fn make_way(&mut self, name: &str, parent: u32) {
        let in_the_way = self.snapshot.link_named(name).filter(|link| link.shim_parent().is_some());
        let Some(link) = in_the_way else { return };
        let why = match (&link.kind, link.lower) {
            (_, None) => "its parent is gone".to_owned(),
            (LinkKind::Macvlan(mode), _) if *mode != Mode::Bridge => format!("its mode is {mode}"),
            (_, Some(lower)) if lower == parent => "it cannot go up: another machine has its MAC".to_owned(),
            _ => "no guest of this host needs it".to_owned(),
        };
        self.gone.insert(link.index);
        self.now(Op::DeleteShim { link: link.index, link_name: link.name.clone() }, why);
    }

    /// The kernel drops all IPv4 routes and neighbours of a link with its last IPv4 address, used or not. So
    /// where that is due it comes first, and all else is made anew.
    fn is_flushed(&self, desired: &Shim) -> bool {
        let on_it = self.snapshot.addresses.iter();
        let mut on_it =
            on_it.filter(|(key, _)| Some(key.link) == desired.shim.index && key.address.addr().is_ipv4());
        let some = on_it.clone().next().is_some();
        let all_go =
            on_it.all(|(key, address)| address.ours && !desired.addresses.contains(&key.address.addr()));
        some && all_go && !desired.addresses.iter().any(IpAddr::is_ipv4)
    }

    /// Our neighbour entry names another holder, whose address may be away for a moment only (a renewal): nobody
    /// may snatch it then.
    fn holder_may_return(&self, shim: &ShimRef, address: IpAddr, mac: Mac) -> bool {
        let ours = self.snapshot.neighbours.iter().filter(|((_, to), entry)| *to == address && entry.ours);
        let mut others = ours.filter_map(|((link, _), entry)| Some((*link, entry.mac?)));
        others.any(|(link, holder)| {
            (Some(link), holder) != (shim.index, mac)
                && self.children_at(link, holder).any(|child| {
                    let mut its = child.addresses.iter().filter(|(its, _)| its.addr() == address);
                    its.all(|(_, state)| *state == GuestAddress::Tentative)
                })
        })
    }

    /// The children with that MAC on the parent of a shim.
    fn children_at(&self, link: u32, mac: Mac) -> impl Iterator<Item = &Child> {
        let parent = self.snapshot.links.get(&link).and_then(Link::shim_parent);
        let children = self.snapshot.children.values();
        children.filter(move |child| Some(child.parent) == parent && child.mac == mac)
    }

    fn has_address(&self, shim: &ShimRef, address: IpAddr) -> bool {
        let Some(link) = shim.index else { return false };
        self.snapshot.addresses.keys().any(|key| key.link == link && key.address.addr() == address)
    }

    fn has_neighbour(&self, shim: &ShimRef, address: IpAddr, mac: Mac) -> bool {
        let entry = shim.index.and_then(|index| self.snapshot.neighbours.get(&(index, address)));
        entry.is_some_and(|entry| {
            entry.ours && entry.mac == Some(mac) && entry.state == NeighbourState::Permanent
        })
    }

    fn route(&mut self, desired: &Shim) {
        let hosts = desired.hosts.iter();
        let hosts = hosts.map(|(ip, host)| (IpNet::from(*ip), Some(host.source), reason(host.nic.as_ref())));
        let ranges = desired.ranges.iter().map(|(range, source)| {
            (*range, *source, format!("[[parent]] name = {:?} has it in routes", desired.parent))
        });
        let flushed = self.is_flushed(desired);
        for (destination, source, why) in hosts.chain(ranges) {
            let ipv6 = destination.addr().is_ipv6();
            let table = desired.tables[usize::from(ipv6)];
            let shim = desired.shim.clone();
            match self.standing_route(&desired.shim, destination, table) {
                Some((link, stands))
                    if Some(link) == shim.index && stands == source && (ipv6 || !flushed) => {}
                standing => {
                    let replace = standing.is_some();
                    self.now(Op::SetRoute { shim, destination, source, table, replace }, why);
                }
            }
        }
    }

    /// Our route with that key, wherever it leads: its link and its preferred source.
    fn standing_route(&self, shim: &ShimRef, to: IpNet, table: u32) -> Option<(u32, Option<IpAddr>)> {
        let metric = metric(to.addr().is_ipv6());
        let key = |link| RouteKey { table, destination: to, metric, link };
        let range = key(0)..=key(u32::MAX);
        let ours = || self.snapshot.routes.range(range.clone()).filter(|(_, route)| route.ours);
        let here = ours().find(|(key, _)| Some(key.link) == shim.index);
        here.or_else(|| ours().next()).map(|(key, route)| (key.link, route.source))
    }

    fn add_rules(&mut self) {
        for (ipv6, priority) in &self.desired.rules {
            let mut rules = self.snapshot.rules.iter();
            if !rules.any(|rule| rule.ours && rule.ipv6 == *ipv6 && rule.priority == *priority) {
                let why = "rules of the host precede table main";
                self.now(Op::AddRule { ipv6: *ipv6, priority: *priority }, why);
            }
        }
    }

    /// The desired shim that stands as this link.
    fn desired_on(&self, link: u32) -> Option<&Shim> {
        self.desired.shims.values().find(|shim| shim.shim.index == Some(link))
    }

    fn is_shim(&self, link: u32) -> bool {
        self.snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some())
    }

    fn link_name(&self, link: u32) -> String {
        self.snapshot.links.get(&link).map_or_else(|| format!("link {link}"), |link| link.name.clone())
    }
}

fn is_host(destination: &IpNet) -> bool {
    destination.prefix_len() == destination.max_prefix_len()
}

fn reason(nic: Option<&NicKey>) -> String {
    nic.map_or_else(|| "the guest is still there".to_owned(), |nic| format!("{nic} has it"))
}
