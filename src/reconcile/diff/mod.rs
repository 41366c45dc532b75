//! The ordered difference between what should exist and what exists.
//!
//! The order is a safety law. Adding: everything on a shim comes before it goes up. A neighbour entry comes
//! before its route, because otherwise the host would ask for the guest on the wire with the shim's MAC.
//! Routes come before the rule that looks them up. Deleting comes after adding, and in the opposite order,
//! except for objects in the way and for routes of a NIC that has too many. An object without our mark is
//! never touched.

mod filter;
mod names;
mod surplus;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::desired::Desired;
use super::hold::Holder;
use super::shims::DesiredShim;
use crate::model::names::{LINK_GROUP, metric};
use crate::model::plan::When;
use crate::model::snapshot::{
    AddressKey, Child, ChildKey, GuestAddress, HostAddress, Link, Neighbour, NeighbourState, RouteKey,
};
use crate::model::{Family, LinkIndex, LinkRef, Mac, Op, Plan, Snapshot, Step};

/// Everything that has to be done.
pub fn diff(desired: &Desired, snapshot: &Snapshot) -> Plan {
    let mut steps = Steps::new(desired, snapshot);
    let mut held: BTreeMap<LinkIndex, Vec<IpAddr>> = BTreeMap::new();
    for (address, holder) in &desired.held.holders {
        held.entry(holder.parent).or_default().push(*address);
    }
    steps.make_room(desired.leftovers.surplus());
    steps.put_names_right();
    let shims = || desired.shims.iter().filter(|(_, shim)| shim.obstacle.is_none());
    let held_on = |parent| held.get(parent).into_iter().flatten();
    for (parent, shim) in shims() {
        steps.complete(shim, held_on(parent));
    }
    for (parent, shim) in shims() {
        held_on(parent).for_each(|address| steps.route_holder(*address));
        steps.route_ranges(shim);
    }
    steps.add_rules();
    shims().for_each(|(_, shim)| steps.answers(shim));
    steps.delete_surplus();
    steps.plan
}

/// Everything that has to be done for these addresses of guests: the part of [`diff`] that is about them.
pub(super) fn diff_at(desired: &Desired, snapshot: &Snapshot, addresses: &BTreeSet<IpAddr>) -> Plan {
    let mut steps = Steps::new(desired, snapshot);
    steps.make_room(desired.leftovers.surplus().intersection(addresses));
    addresses.iter().for_each(|address| steps.neighbour(*address));
    addresses.iter().for_each(|address| steps.route_holder(*address));
    let left = || addresses.difference(desired.leftovers.surplus());
    left().for_each(|address| steps.delete_routes_to(*address));
    left().for_each(|address| steps.delete_neighbours_at(*address));
    steps.plan
}

struct Steps<'a> {
    plan: Plan,
    /// Links that make way for new shims, with everything on them.
    gone: BTreeSet<LinkIndex>,
    /// Table and destination of the IPv4 routes that the plan has replaced.
    replaced: BTreeSet<(u32, IpNet)>,
    /// The existing shims that lose their last IPv4 address.
    flushed: BTreeSet<LinkIndex>,
    desired: &'a Desired,
    snapshot: &'a Snapshot,
}

impl<'a> Steps<'a> {
    fn new(desired: &'a Desired, snapshot: &'a Snapshot) -> Steps<'a> {
        let standing = desired.shims.values().filter_map(|shim| Some((shim.link.index?, shim)));
        let flushed = standing.filter(|(link, shim)| is_flushed(snapshot, *link, shim)).map(|(link, _)| link);
        let flushed = flushed.collect();
        let shims = desired.shims.values().filter(|shim| shim.obstacle.is_none());
        let gone =
            shims.filter_map(|shim| desired.in_the_way(snapshot, shim)).map(|link| link.index).collect();
        Steps { plan: Plan::new(), gone, replaced: BTreeSet::new(), flushed, desired, snapshot }
    }

    fn now(&mut self, op: Op, why: impl Into<String>) {
        self.plan.push(Step { op, when: When::Now, why: why.into() });
    }

    /// The shim itself, and everything on it except its routes.
    fn complete<'b>(&mut self, desired: &DesiredShim, addresses: impl Iterator<Item = &'b IpAddr>) {
        let shim = &desired.link;
        let standing = shim.index.and_then(|index| self.snapshot.links.get(&index));
        if standing.is_none() {
            let parent = self.snapshot.link_named(&desired.parent).map(|link| link.index);
            self.make_way(desired, parent.unwrap_or(LinkIndex::NONE));
            let op = Op::CreateShim {
                shim: shim.clone(),
                parent: LinkRef { name: desired.parent.clone(), index: parent },
                mac: desired.mac,
                mtu: desired.mtu,
            };
            self.now(op, desired.why.clone());
        }
        if standing.is_some_and(|link| link.group != LINK_GROUP || link.made_with != Some(desired.mac)) {
            self.now(Op::Mark { shim: shim.clone(), mac: desired.mac }, "a mark of it was lost");
        }
        if standing.is_some_and(|link| link.mac != Some(desired.mac)) {
            self.now(Op::SetMac { shim: shim.clone(), mac: desired.mac }, "guests know it by this MAC");
        }
        if standing.is_some_and(|link| link.mtu != desired.mtu) {
            let why = format!("{} has it", desired.parent);
            self.now(Op::SetMtu { shim: shim.clone(), mtu: desired.mtu }, why);
        }
        if standing.is_none_or(|link| link.multicast || !link.arp || link.protodown) {
            let why = match standing {
                Some(link) if link.protodown => "protodown keeps all frames away",
                Some(link) if !link.arp => "without ARP no guest finds the host",
                _ => "the LAN must not hear the shim",
            };
            let protodown = standing.is_some_and(|link| link.protodown);
            self.now(Op::SetFlags { shim: shim.clone(), protodown }, why);
        }
        let settings = shim.index.and_then(|index| self.snapshot.settings.get(&index));
        for (setting, value) in &desired.settings {
            let stands = settings.and_then(|settings| settings.get(setting));
            // A setting that the kernel does not have on an existing shim cannot be written either.
            if settings.is_none() || stands.is_some_and(|stands| stands != value) {
                let op = Op::Set { shim: shim.clone(), setting: *setting, value: *value };
                self.now(op, "a shim is quiet and deaf to strangers");
            }
        }
        if self.is_flushed(shim) {
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
        addresses.for_each(|address| self.neighbour(*address));
        self.filter(desired);
        if standing.is_none_or(|link| !link.up) {
            self.now(Op::SetUp { shim: shim.clone() }, "it is complete");
        }
    }

    /// The entry for a guest's address.
    fn neighbour(&mut self, address: IpAddr) {
        let Some((DesiredShim { link: shim, .. }, holder)) = self.desired.shim_of(address) else { return };
        let flushed = address.is_ipv4() && self.is_flushed(shim);
        if !flushed && self.has_neighbour(shim, address, holder.mac) {
            return;
        }
        let op = Op::SetNeighbour { shim: shim.clone(), address, mac: holder.mac };
        let why = reason(holder);
        match self.until_holder_is_gone(shim, address, holder.mac) {
            When::Now => self.now(op, why),
            when => {
                let why = format!("{why}, and its last holder no longer");
                self.plan.push(Step { op, when, why });
            }
        }
    }

    fn is_flushed(&self, shim: &LinkRef) -> bool {
        shim.index.is_some_and(|index| self.flushed.contains(&index))
    }

    /// If our neighbour entry names another holder, wait, because it may only be renewing its lease. The
    /// claimant with the best right does not wait. Wait longer if the holder still has the address but it is
    /// tentative.
    fn until_holder_is_gone(&self, shim: &LinkRef, address: IpAddr, mac: Mac) -> When {
        if !self.desired.held.seconds.contains(&address) {
            return When::Now;
        }
        let ours = self.entries(address).filter(|(_, entry)| entry.ours);
        let others = ours.filter_map(|(link, entry)| Some((link, entry.mac?)));
        let others = others.filter(|(link, holder)| (Some(*link), *holder) != (shim.index, mac));
        let last = others.flat_map(|(link, holder)| self.children_at(link, holder));
        let waits = last.map(|(_, child)| {
            let its = child.addresses.iter().filter(|(its, _)| its.addr() == address);
            let states: Vec<GuestAddress> = its.map(|(_, state)| *state).collect();
            match states.as_slice() {
                [] => When::AfterBlink,
                some if some.iter().all(|state| *state == GuestAddress::Tentative) => When::AfterBreath,
                _ => When::Now,
            }
        });
        waits.max().unwrap_or(When::Now)
    }

    /// The neighbour entries for an address, by their link.
    fn entries(&self, address: IpAddr) -> impl Iterator<Item = (LinkIndex, &'a Neighbour)> + use<'a> {
        let all = self.snapshot.neighbours.range((address, LinkIndex::NONE)..=(address, LinkIndex::LAST));
        all.map(|((_, link), entry)| (*link, entry))
    }

    /// The children that are reached at that MAC on the parent of a shim.
    fn children_at(
        &self,
        link: LinkIndex,
        mac: Mac,
    ) -> impl Iterator<Item = (&'a ChildKey, &'a Child)> + use<'a> {
        let parent = self.snapshot.links.get(&link).and_then(Link::shim_parent);
        let (keys, snapshot) = (self.desired.host.children_at(mac), self.snapshot);
        let children = keys.filter_map(|key| Some((key, snapshot.children.get(key)?)));
        children.filter(move |(_, child)| Some(child.parent) == parent)
    }

    fn has_address(&self, shim: &LinkRef, address: IpNet) -> bool {
        let Some(link) = shim.index else { return false };
        let on_it = self.snapshot.addresses.iter().filter(|(key, _)| key.link == link);
        // A foreign entry with another length is left alone.
        let is_it = |(key, standing): (&AddressKey, &HostAddress)| {
            key.address == address || (!standing.ours && key.address.addr() == address.addr())
        };
        on_it.into_iter().any(is_it)
    }

    fn has_neighbour(&self, shim: &LinkRef, address: IpAddr, mac: Mac) -> bool {
        let entry = shim.index.and_then(|index| self.snapshot.neighbours.get(&(address, index)));
        entry.is_some_and(|entry| {
            entry.ours && entry.mac == Some(mac) && entry.state == NeighbourState::Permanent
        })
    }

    /// The route to a guest's address.
    fn route_holder(&mut self, address: IpAddr) {
        if let Some((shim, holder)) = self.desired.shim_of(address) {
            self.route(shim, IpNet::from(address), Some(holder.source), || reason(holder));
        }
    }

    fn route_ranges(&mut self, shim: &DesiredShim) {
        for (range, source) in &shim.ranges {
            let why = || format!("[[parent]] name = {:?} has it in routes", shim.parent);
            self.route(shim, *range, *source, why);
        }
    }

    fn route(
        &mut self,
        to: &DesiredShim,
        destination: IpNet,
        source: Option<IpAddr>,
        why: impl FnOnce() -> String,
    ) {
        let family = Family::of(destination);
        let table = to.tables[family];
        let shim = to.link.clone();
        let standing = self.standing_route(&shim, destination, table);
        let flushed = family == Family::V4 && self.is_flushed(&shim);
        if standing.is_some_and(|(link, stands)| Some(link) == shim.index && stands == source && !flushed) {
            return;
        }
        let replace = standing.is_some();
        if replace && family == Family::V4 {
            self.replaced.insert((table, destination));
        }
        self.now(Op::SetRoute { shim, destination, source, table, replace }, why());
    }

    /// Our route with that key, wherever it leads: its link and its preferred source.
    fn standing_route(&self, shim: &LinkRef, to: IpNet, table: u32) -> Option<(LinkIndex, Option<IpAddr>)> {
        let metric = metric(Family::of(to));
        let key = |link| RouteKey { table, destination: to, metric, link };
        let range = key(LinkIndex::NONE)..=key(LinkIndex::LAST);
        let ours = || self.snapshot.routes.range(range.clone()).filter(|(_, route)| route.ours);
        let here = ours().find(|(key, _)| Some(key.link) == shim.index);
        here.or_else(|| ours().next()).map(|(key, route)| (key.link, route.source))
    }

    fn add_rules(&mut self) {
        for (family, priority) in &self.desired.rules {
            let mut rules = self.snapshot.rules.iter();
            if !rules.any(|rule| rule.ours && rule.family == *family && rule.priority == *priority) {
                let why = "rules of the host precede table main";
                self.now(Op::AddRule { family: *family, priority: *priority }, why);
            }
        }
    }

    /// The desired shim that exists as this link.
    fn desired_on(&self, link: LinkIndex) -> Option<&DesiredShim> {
        self.desired.shims.values().find(|shim| shim.link.index == Some(link))
    }

    fn is_shim(&self, link: LinkIndex) -> bool {
        self.snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some())
    }

    fn link_ref(&self, link: LinkIndex) -> LinkRef {
        let unknown = || LinkRef::standing(format!("link {link}"), link);
        self.snapshot.links.get(&link).map_or_else(unknown, LinkRef::from)
    }
}

fn reason(holder: &Holder) -> String {
    let nic = holder.nic.as_ref();
    nic.map_or_else(|| "the guest is still there".to_owned(), |nic| format!("{nic} has it"))
}

/// The kernel drops all IPv4 routes and neighbours of a link with its last IPv4 address, used or not. So that
/// deletion comes first if it is due, and everything else is made again.
fn is_flushed(snapshot: &Snapshot, link: LinkIndex, desired: &DesiredShim) -> bool {
    let on_it = snapshot.addresses.iter();
    let mut on_it = on_it.filter(|(key, _)| key.link == link && key.address.addr().is_ipv4());
    let some = on_it.clone().next().is_some();
    let all_go = on_it.all(|(key, address)| address.ours && !desired.addresses.contains(&key.address));
    some && all_go && !desired.addresses.iter().any(|own| own.addr().is_ipv4())
}
