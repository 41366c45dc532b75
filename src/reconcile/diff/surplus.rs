//! Deletes our surplus objects: routes before their neighbour entries, everything before its shim.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Steps;
use crate::model::address::is_link_local;
use crate::model::names::{TABLE, TABLE_MAIN, metric};
use crate::model::neighbours::{is_solicited_node, solicited_node};
use crate::model::plan::When;
use crate::model::snapshot::{Child, Link, NeighbourState, RouteKey, Rule, is_host};
use crate::model::{Family, LinkIndex, Op, Step};
use crate::reconcile::hold::tenure::Contest;
use crate::reconcile::shims::DesiredShim;

impl Steps<'_> {
    /// The routes of NICs that have too many go before others are added.
    pub(super) fn make_room<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        for address in addresses {
            self.delete_routes_to(*address);
            self.delete_neighbours_at(*address);
        }
    }

    /// It has gone already, to make room.
    fn has_gone(&self, address: IpAddr) -> bool {
        self.desired.leftovers.surplus().contains(&address)
    }

    /// Adds all deletes.
    pub(super) fn delete_surplus(&mut self) {
        self.delete_rules();
        self.delete_routes();
        self.delete_neighbours();
        self.delete_proxies();
        self.delete_addresses();
        self.delete_shims();
        self.delete_filters();
    }

    fn delete_rules(&mut self) {
        let surplus =
            |rule: &&Rule| rule.ours && self.desired.rules.get(&rule.family) != Some(&rule.priority);
        let surplus: Vec<_> = self.snapshot.rules.iter().filter(surplus).copied().collect();
        for rule in surplus {
            let op = Op::DeleteRule { family: rule.family, priority: rule.priority };
            let why = "nothing needs it any more".to_owned();
            self.plan.push(Step { op, when: When::AfterBreath, why });
        }
    }

    fn delete_routes(&mut self) {
        for (key, _) in self.snapshot.routes.iter().filter(|(_, route)| route.ours) {
            if !key.host().is_some_and(|address| self.has_gone(address)) {
                self.delete_route(key);
            }
        }
    }

    /// The surplus routes to a guest's address.
    pub(super) fn delete_routes_to(&mut self, address: IpAddr) {
        let key = |table, metric, link| RouteKey { table, destination: IpNet::from(address), metric, link };
        for table in [TABLE, TABLE_MAIN] {
            let all = key(table, 0, LinkIndex::NONE)..=key(table, u32::MAX, LinkIndex::LAST);
            for (key, _) in self.snapshot.routes.range(all).filter(|(_, route)| route.ours) {
                self.delete_route(key);
            }
        }
    }

    fn delete_route(&mut self, key: &RouteKey) {
        let family = Family::of(key.destination);
        let metric = metric(family);
        // IPv4 allows one route for a destination, table and metric, whatever its link. IPv6 allows several.
        // A route that this very plan replaces through another shim no longer exists.
        let replaced = key.metric == metric && self.replaced.contains(&(key.table, key.destination));
        if replaced || self.gone.contains(&key.link) {
            return;
        }
        let shim = self.desired_on(key.link);
        let host = is_host(&key.destination);
        let wanted = shim.is_some_and(|shim| {
            let address = key.destination.addr();
            (host && self.is_host_on(shim, address)) || shim.ranges.contains_key(&key.destination)
        });
        let here = shim.map(|shim| shim.tables[family]);
        if wanted && here == Some(key.table) && key.metric == metric {
            return;
        }
        let op = Op::DeleteRoute {
            link: self.link_ref(key.link),
            destination: key.destination,
            table: key.table,
            metric: key.metric,
        };
        let (when, why) = if wanted {
            let table = if here == Some(TABLE) { "77" } else { "main" };
            (When::Now, format!("it belongs into table {table}"))
        } else if host {
            self.surplus_host(key.link, key.destination.addr())
        } else {
            (When::Now, "no [[parent]] whose shim is needed has it in routes".to_owned())
        };
        self.plan.push(Step { op, when, why });
    }

    /// An address is desired on that shim.
    fn is_host_on(&self, shim: &DesiredShim, address: IpAddr) -> bool {
        let holder = self.desired.held.holders.get(&address);
        holder
            .and_then(|holder| self.desired.shims.get(&holder.parent))
            .is_some_and(|its| its.link == shim.link)
    }

    /// When the surplus route to a guest's address may go, and why.
    fn surplus_host(&self, link: LinkIndex, address: IpAddr) -> (When, String) {
        let parent = self.snapshot.links.get(&link).and_then(Link::shim_parent);
        let mac = self.snapshot.neighbours.get(&(address, link)).and_then(|entry| entry.mac);
        let Some((parent, mac)) = parent.zip(mac) else {
            return (When::Now, "it is a leftover".to_owned());
        };
        if self.has_gone(address) {
            return (When::Now, "its NIC has more routes than policy.max_addresses".to_owned());
        }
        let its = || self.children_at(link, mac);
        let takes_part = |key| self.desired.takes_part(self.snapshot, key, address);
        let refusal = |key| self.desired.held.refusal(key, address).filter(|_| takes_part(key));
        if let Some(refusal) = its().find_map(|(key, _)| refusal(key)) {
            let when = if refusal.is_urgent { When::Now } else { When::AfterBreath };
            return (when, format!("{address} is refused: {}", refusal.code));
        }
        let twin =
            self.desired.shim_of(address).filter(|(_, holder)| holder.parent == parent && holder.mac == mac);
        if let Some((twin, _)) = twin {
            return (When::Now, format!("it is reached through {}", twin.link));
        }
        if its().next().is_none() {
            return (When::Now, "its guest is gone".to_owned());
        }
        let why = match its().any(|(_, child)| has(child, address)) {
            true => format!("the guest that has {address} takes no part"),
            false => format!("the guest no longer has {address}"),
        };
        (When::AfterBreath, why)
    }

    fn delete_neighbours(&mut self) {
        for ((address, link), _) in self.snapshot.neighbours.iter().filter(|(_, entry)| entry.ours) {
            if !self.has_gone(*address) {
                self.delete_neighbour(*link, *address);
            }
        }
    }

    /// The surplus entries for a guest's address.
    pub(super) fn delete_neighbours_at(&mut self, address: IpAddr) {
        for (link, _) in self.entries(address).filter(|(_, entry)| entry.ours) {
            self.delete_neighbour(link, address);
        }
    }

    fn delete_neighbour(&mut self, link: LinkIndex, address: IpAddr) {
        let shim = self.desired_on(link);
        if shim.is_some_and(|shim| self.is_host_on(shim, address)) || self.gone.contains(&link) {
            return;
        }
        if !self.is_shim(link) {
            return self.end_question(link, address);
        }
        if self.is_remembered_by(link, address) {
            return;
        }
        let (when, why) = self.surplus_host(link, address);
        let op = Op::DeleteNeighbour { link: self.link_ref(link), address };
        self.plan.push(Step { op, when, why });
    }

    /// The entry names the last holder of an address that others wait for. It is the memory of that holder,
    /// and outlives this process. While a server is still to be read, any entry without a route may be one.
    fn is_remembered_by(&self, link: LinkIndex, address: IpAddr) -> bool {
        let parent = self.snapshot.links.get(&link).and_then(Link::shim_parent);
        let mac = self.snapshot.neighbours.get(&(address, link)).and_then(|entry| entry.mac);
        let is_lasts = match self.desired.held.contests.get(&address) {
            Some(Contest::Waits { had }) => {
                let is_its = |key| {
                    self.desired.held.claimants.served.get(key).map(|served| &served.nic) == had.nic.as_ref()
                };
                let mut its = self.children_at(link, had.mac).filter(|(key, _)| is_its(key));
                let mut still_has = || its.any(|(_, child)| has(child, address));
                parent == Some(had.parent) && mac == Some(had.mac) && !still_has()
            }
            _ => false,
        };
        let is_unsure = !self.desired.settled && parent.is_some() && !self.is_routed(link, address);
        (is_lasts || is_unsure) && self.desired_on(link).is_some()
    }

    /// Whether a route of ours to an address leads through this link.
    fn is_routed(&self, link: LinkIndex, address: IpAddr) -> bool {
        let key = |table| RouteKey {
            table,
            destination: IpNet::from(address),
            metric: metric(Family::of(address)),
            link,
        };
        [TABLE, TABLE_MAIN].into_iter().any(|table| self.snapshot.routes.contains_key(&key(table)))
    }

    /// An entry that a question of ours has made on a parent. The kernel never collects it.
    fn end_question(&mut self, link: LinkIndex, address: IpAddr) {
        let Some(entry) = self.snapshot.neighbours.get(&(address, link)) else { return };
        let on = self.link_ref(link);
        let serves = self.desired.shims.contains_key(&link) || !self.desired.settled;
        let delete = |why: &str| (Op::DeleteNeighbour { link: on.clone(), address }, why.to_owned());
        let (op, why) = match entry.state {
            NeighbourState::Permanent if serves && self.is_asked_at(link, address) => return,
            NeighbourState::Permanent if is_solicited_node(address) => {
                delete("nobody is asked there any more")
            }
            NeighbourState::Permanent => delete("it is a leftover"),
            NeighbourState::Failed => delete("nobody on the LAN has it"),
            NeighbourState::Unresolved | NeighbourState::Disputed if serves => return,
            NeighbourState::Unresolved | NeighbourState::Disputed => delete("nobody waits for the answer"),
            // As long as the claim stands, the answer is the reason for its refusal.
            _ if serves && (!self.desired.settled || self.is_claimed_on(link, address)) => return,
            _ => {
                let why = format!("nobody here claims {address} any more");
                (Op::ReleaseNeighbour { link: on, address }, why)
            }
        };
        self.now(op, why);
    }

    /// A question of ours goes to that group.
    fn is_asked_at(&self, link: LinkIndex, group: IpAddr) -> bool {
        let mut asked = self.snapshot.neighbours.iter().filter(|(_, entry)| entry.is_asked_for());
        asked.any(|((address, at), _)| *at == link && solicited_node(*address) == Some(group))
    }

    /// A child of that link that takes part claims an address.
    fn is_claimed_on(&self, link: LinkIndex, address: IpAddr) -> bool {
        self.desired.held.claims.claimed_by(address).any(|key| {
            let child = self.snapshot.children.get(key);
            let here = child.is_some_and(|child| child.parent == link);
            here && self.desired.takes_part(self.snapshot, key, address)
        })
    }

    fn delete_proxies(&mut self) {
        for ((link, address), _) in self.snapshot.proxies.iter().filter(|(_, ours)| **ours) {
            let Some(desired) = self.desired_on(*link) else {
                // It goes with its shim; on any other link it is a leftover.
                if !self.is_shim(*link) {
                    let op = Op::DeleteProxy { link: self.link_ref(*link), address: *address };
                    self.plan.push(Step { op, when: When::Now, why: "it is a leftover".to_owned() });
                }
                continue;
            };
            if !desired.proxies.contains(address) {
                let op = Op::DeleteProxy { link: self.link_ref(*link), address: *address };
                let why = format!("{} no longer has it", desired.parent);
                self.plan.push(Step { op, when: When::AfterBreath, why });
            }
        }
    }

    fn delete_addresses(&mut self) {
        for desired in self.desired.shims.values() {
            if !self.is_flushed(&desired.link) {
                self.delete_addresses_of(desired);
            }
        }
        for (key, _) in self.snapshot.addresses.iter().filter(|(_, address)| address.ours) {
            // It goes with its shim; on any other link it is a leftover.
            if !self.is_shim(key.link) {
                self.now(
                    Op::DeleteAddress { link: self.link_ref(key.link), address: key.address },
                    "it is a leftover",
                );
            }
        }
    }

    pub(super) fn delete_addresses_of(&mut self, desired: &DesiredShim) {
        let on_it = self.snapshot.addresses.iter().filter(|(key, _)| Some(key.link) == desired.link.index);
        for (key, _) in on_it.filter(|(_, address)| address.ours) {
            if !desired.addresses.contains(&key.address) {
                let op = Op::DeleteAddress { link: self.link_ref(key.link), address: key.address };
                let why = match is_link_local(&key.address) {
                    true => "it would speak on the LAN from its own address",
                    false if desired.addresses.iter().any(|own| own.addr() == key.address.addr()) => {
                        "it has another length now"
                    }
                    false => "the configuration no longer gives it",
                };
                self.now(op, why);
            }
        }
    }

    /// The filters of shims that are gone, or about to go. The last of them takes the table with it, so it
    /// comes after all shims.
    fn delete_filters(&mut self) {
        if !self.snapshot.filter.usable {
            return;
        }
        let filters = &self.snapshot.filter.shims;
        let needed = |link: &LinkIndex| self.is_shim(*link) && self.desired_on(*link).is_some();
        let stays =
            |link: &LinkIndex| self.is_shim(*link) && !self.desired.settled && !self.gone.contains(link);
        let mut surplus: Vec<LinkIndex> =
            filters.keys().filter(|link| !needed(link) && !stays(link)).copied().collect();
        surplus.sort_by_key(|link| self.is_shim(*link));
        let all = surplus.len() == filters.len() && self.desired.shims.is_empty();
        let last = surplus.last().copied().filter(|_| all);
        for link in surplus {
            let when = if self.is_shim(link) { When::AfterBreath } else { When::Now };
            let op = Op::DeleteFilter { link: self.link_ref(link), last: last == Some(link) };
            let why = if link == LinkIndex::NONE { "the whole table is ours" } else { "its shim is gone" };
            self.plan.push(Step { op, when, why: why.to_owned() });
        }
    }

    fn delete_shims(&mut self) {
        for (_, link) in self.snapshot.shims() {
            let surplus = self.desired_on(link.index).is_none() && !self.gone.contains(&link.index);
            if !surplus || !self.desired.settled {
                continue;
            }
            let op = Op::DeleteShim { link: link.into() };
            let parent = link.lower.and_then(|parent| self.snapshot.links.get(&parent));
            let why = match parent {
                None => "its parent is gone".to_owned(),
                Some(parent) if self.desired.shims.contains_key(&parent.index) => {
                    format!("another shim serves {}", parent.name)
                }
                Some(_) => "no guest of this host needs it".to_owned(),
            };
            self.plan.push(Step { op, when: When::AfterBreath, why });
        }
    }
}

fn has(child: &Child, address: IpAddr) -> bool {
    child.addresses.keys().any(|its| its.addr() == address)
}
