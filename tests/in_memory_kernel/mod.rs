//! A kernel that is small enough to read: a [`Snapshot`] that obeys the operations of a plan as Linux does,
//! as far as we notice. Each rule cites its fact (`src/kernel/FACTS.md`). A kernel test holds it against a
//! real namespace by applying the same operations to both.
//!
//! Its rules:
//!
//! * **Links.** A new link gets an ifindex that no link had before. It is down, with `IFF_MULTICAST` and the
//!   kernel's default sysctls. A name that is taken is refused. A macvlan on a macvlan hangs on the real
//!   parent; one on a bridge port or beside a passthru sibling is refused (FACTS 2), and so is an MTU above
//!   the parent's (FACTS 3).
//! * **Up.** Two links of one parent with the same MAC cannot both be up. The second fails (FACTS 32), even
//!   where the first is in a namespace that we cannot see ([`InMemoryKernel::hidden_macs`]).
//! * **Down** takes a link's routes, its neighbours and proxies, and its IPv6 addresses; IPv4 addresses stay
//!   (FACTS 8).
//! * **Deleting** a link takes everything on it, and the macvlans and children on top of it (FACTS 10).
//! * **Routes** need a link that is up if they lead anywhere, and a preferred source that is an address of
//!   the host. For IPv4 the key is table, destination and metric, whatever the link. For IPv6 the link
//!   belongs to the key, but neither an exclusive add nor a replace cares: the first fails on a route through
//!   any link, the second takes it away (FACTS 52).
//! * **Addresses.** An address puts its network on a link that is up. When an address goes, IPv4 routes with
//!   it as their preferred source go too, and IPv6 routes lose it (FACTS 9). When the last IPv4 address of a
//!   link goes, all its IPv4 routes and neighbours go too (FACTS 14).
//! * **Neighbours** can also be added to a link that is down. A question makes an entry that is unresolved
//!   and ours, even where there was one (FACTS 34). Over IPv6 it makes another one for the solicited
//!   multicast group.
//! * **Filters** outlive their link, as on newer kernels (FACTS 55).
//! * **IPv6** that is switched off on a link takes everything of IPv6 from it, and nothing can be added.
//! * "Exists already and is equal" and "gone already" are success. Deletes touch only objects that bear our
//!   mark.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use macvlan_shim::model::inventory::Mode;
use macvlan_shim::model::names::metric;
use macvlan_shim::model::names::{LINK_GROUP, TABLE, TABLE_MAIN};
use macvlan_shim::model::neighbours::solicited_node;
use macvlan_shim::model::routing::{Hop, Routing, Way};
use macvlan_shim::model::snapshot::{
    AddressKey, HostAddress, Link, LinkKind, Neighbour, NeighbourState, Route, RouteKey, RouteKind, Rule,
    Setting, ShimFilter, Snapshot, is_host,
};
use macvlan_shim::model::{Changes, Family, LinkIndex, LinkRef, Mac, Op};

/// The kernel: its visible state, and what it hides.
#[derive(Clone, Debug, Default)]
pub(crate) struct InMemoryKernel {
    /// Its visible state.
    pub(crate) snapshot: Snapshot,
    /// MACs of links in namespaces that we cannot see.
    pub(crate) hidden_macs: BTreeSet<Mac>,
    last_index: LinkIndex,
}

impl InMemoryKernel {
    /// A kernel with these objects.
    pub(crate) fn new(snapshot: Snapshot) -> InMemoryKernel {
        let last_index = snapshot.links.keys().next_back().copied().unwrap_or(LinkIndex::NONE);
        InMemoryKernel { snapshot, hidden_macs: BTreeSet::new(), last_index }
    }

    /// The changes in its visible state, as [`macvlan_shim::kernel::Kernel::drain`] reports them.
    pub(crate) fn changes_since(&self, old: &Snapshot) -> Changes {
        let new = &self.snapshot;
        let host = |it: &Snapshot| Snapshot {
            routes: BTreeMap::new(),
            routing: Routing::default(),
            neighbours: BTreeMap::new(),
            children: BTreeMap::new(),
            ..it.clone()
        };
        let mut changes = Changes { all: host(old) != host(new), ..Changes::default() };
        for key in both(&old.routes, &new.routes) {
            changes.route(key, old.routes.get(key), new.routes.get(key));
        }
        let ways = |it: &Snapshot| -> BTreeMap<RouteKey, Way> {
            it.routing.iter().map(|(key, way)| (*key, way.clone())).collect()
        };
        let (old_ways, new_ways) = (ways(old), ways(new));
        for key in both(&old_ways, &new_ways) {
            changes.way(key, old_ways.get(key), new_ways.get(key));
        }
        for key in both(&old.neighbours, &new.neighbours) {
            changes.neighbour(key.0, old.neighbours.get(key), new.neighbours.get(key));
        }
        for key in both(&old.children, &new.children) {
            changes.child(*key, old.children.get(key), new.children.get(key));
        }
        changes
    }

    /// Obeys one operation, or refuses it with the name of the error.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::CreateShim { shim, parent, mac, mtu } => {
                self.create(&shim.name, standing(parent)?, *mac, *mtu)
            }
            Op::Rename { link, name } => {
                let link = standing(link)?;
                if self.snapshot.link_named(name).is_some_and(|other| other.index != link) {
                    return Err("EEXIST".to_owned());
                }
                self.snapshot.links.get_mut(&link).ok_or("ENODEV")?.name.clone_from(name);
                Ok(())
            }
            Op::Mark { shim, mac } => {
                let link = self.link_mut(shim)?;
                (link.group, link.made_with) = (LINK_GROUP, Some(*mac));
                Ok(())
            }
            Op::SetMac { shim, mac } => self.set_mac(shim, *mac),
            Op::SetMtu { shim, mtu } => self.set_mtu(shim, *mtu),
            Op::SetFlags { shim, protodown } => {
                let link = self.link_mut(shim)?;
                (link.multicast, link.arp) = (false, true);
                link.protodown &= !protodown;
                Ok(())
            }
            Op::Set { shim, setting, value } => self.set(shim, *setting, *value),
            Op::AddAddress { shim, address } => self.add_own_address(shim, *address),
            Op::AddProxy { shim, address } => {
                let link = self.index(shim)?;
                self.needs(link, Family::V6)?;
                self.snapshot.proxies.insert((link, *address), true);
                Ok(())
            }
            Op::SetNeighbour { shim, address, mac } => {
                let link = self.index(shim)?;
                self.needs(link, Family::of(*address))?;
                let entry = Neighbour { mac: Some(*mac), state: NeighbourState::Permanent, ours: true };
                self.snapshot.neighbours.insert((*address, link), entry);
                Ok(())
            }
            Op::SetFilter { shim, macs, answers } => {
                let link = self.index(shim)?;
                let (device, macs, answers) = (shim.name.clone(), macs.clone(), answers.clone());
                let filter = ShimFilter { device, macs, answers, whole: true };
                self.snapshot.filter.shims.insert(link, filter);
                Ok(())
            }
            Op::SetUp { shim } => self.set_up(shim),
            Op::SetRoute { shim, destination, source, table, replace } => {
                let link = self.index(shim)?;
                let metric = metric(Family::of(*destination));
                let key = RouteKey { table: *table, destination: *destination, metric, link };
                self.set_route(
                    key,
                    Route { source: *source, ours: true, gateway: false, kind: RouteKind::Unicast },
                    *replace,
                )
            }
            Op::AddRule { family, priority } => {
                let rule = Rule { ours: true, ..Rule::look_up(*family, *priority, TABLE) };
                self.snapshot.rules.insert(rule);
                Ok(())
            }
            Op::Ask { link, address, disputed } => {
                let link = standing(link)?;
                let entry = self.snapshot.neighbours.get(&(*address, link));
                let state = match entry.map(|entry| entry.state) {
                    Some(NeighbourState::Permanent) => return Ok(()),
                    _ if *disputed => NeighbourState::Disputed,
                    _ => NeighbourState::Unresolved,
                };
                self.ask(link, *address, state);
                Ok(())
            }
            Op::ReleaseNeighbour { link, address } => {
                let link = standing(link)?;
                if let Some(entry) =
                    self.snapshot.neighbours.get_mut(&(*address, link)).filter(|entry| entry.ours)
                {
                    (entry.state, entry.ours) = (NeighbourState::Stale, false);
                }
                Ok(())
            }
            Op::DeleteRule { family, priority } => {
                self.snapshot
                    .rules
                    .retain(|rule| !(rule.ours && rule.family == *family && rule.priority == *priority));
                Ok(())
            }
            Op::DeleteRoute { link, destination, table, metric } => {
                let link = standing(link)?;
                let key = RouteKey { table: *table, destination: *destination, metric: *metric, link };
                self.snapshot.routes.retain(|at, route| !(*at == key && route.ours));
                Ok(())
            }
            Op::DeleteNeighbour { link, address } => {
                let link = standing(link)?;
                self.snapshot.neighbours.retain(|at, entry| !(*at == (*address, link) && entry.ours));
                Ok(())
            }
            Op::DeleteProxy { link, address } => {
                let link = standing(link)?;
                self.snapshot.proxies.retain(|at, ours| !(*at == (link, *address) && *ours));
                Ok(())
            }
            Op::DeleteAddress { link, address } => {
                let link = standing(link)?;
                let key = AddressKey { link, address: *address };
                if self.snapshot.addresses.get(&key).is_some_and(|address| address.ours) {
                    self.remove_address(key);
                }
                Ok(())
            }
            Op::DeleteShim { link } => {
                let link = standing(link)?;
                if self.snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some()) {
                    self.remove_link(link);
                }
                Ok(())
            }
            Op::DeleteFilter { link, last } => {
                let link = standing(link)?;
                let filters = &mut self.snapshot.filter.shims;
                if *last {
                    filters.clear()
                } else {
                    drop(filters.remove(&link))
                }
                Ok(())
            }
        }
    }

    /// Over IPv6 the question has an entry of its own.
    fn ask(&mut self, link: LinkIndex, address: IpAddr, state: NeighbourState) {
        if let Some(group) = solicited_node(address) {
            let mac = Some(Mac([0x33, 0x33, 0xff, 0, 0, 0]));
            let entry = Neighbour { mac, state: NeighbourState::Permanent, ours: true };
            self.snapshot.neighbours.insert((group, link), entry);
        }
        let asked = Neighbour { mac: None, state, ours: true };
        self.snapshot.neighbours.insert((address, link), asked);
    }

    fn create(&mut self, name: &str, parent: LinkIndex, mac: Mac, mtu: u32) -> Result<(), String> {
        if self.snapshot.link_named(name).is_some() {
            return Err("EEXIST".to_owned());
        }
        let links = &self.snapshot.links;
        let mut parent = links.get(&parent).ok_or("ENODEV")?;
        if let LinkKind::Macvlan(_) = parent.kind {
            parent = parent.lower.and_then(|lower| links.get(&lower)).ok_or("EINVAL")?;
        }
        if parent
            .master
            .and_then(|master| links.get(&master))
            .is_some_and(|master| master.kind == LinkKind::Bridge)
        {
            return Err("EBUSY".to_owned());
        }
        let siblings = self.snapshot.children.values().filter(|child| child.parent == parent.index);
        if mtu > parent.mtu || siblings.into_iter().any(|child| child.mode == Mode::Passthru) {
            return Err("EINVAL".to_owned());
        }
        let lower = Some(parent.index);
        let index = self.next_index();
        let link = Link {
            index,
            name: name.into(),
            kind: LinkKind::Macvlan(Mode::Bridge),
            mac: Some(mac),
            mtu,
            multicast: true,
            arp: true,
            group: LINK_GROUP,
            made_with: Some(mac),
            lower,
            ..Link::default()
        };
        self.snapshot.links.insert(index, link);
        self.snapshot.settings.insert(index, default_settings(self.snapshot.host.ipv6));
        Ok(())
    }

    /// An ifindex that no link has had yet.
    pub(crate) fn next_index(&mut self) -> LinkIndex {
        let highest = self.snapshot.links.keys().next_back().copied().unwrap_or(LinkIndex::NONE);
        self.last_index = LinkIndex(self.last_index.max(highest).0 + 1);
        self.last_index
    }

    fn set_mac(&mut self, shim: &LinkRef, mac: Mac) -> Result<(), String> {
        let link = Link { mac: Some(mac), ..self.link_mut(shim)?.clone() };
        if link.up && self.is_taken(&link) {
            return Err("EADDRINUSE".to_owned());
        }
        self.link_mut(shim)?.mac = Some(mac);
        Ok(())
    }

    fn set_mtu(&mut self, shim: &LinkRef, mtu: u32) -> Result<(), String> {
        let parent = self.link_mut(shim)?.lower.and_then(|lower| self.snapshot.links.get(&lower));
        if parent.is_some_and(|parent| mtu > parent.mtu) {
            return Err("EINVAL".to_owned());
        }
        self.link_mut(shim)?.mtu = mtu;
        Ok(())
    }

    fn set(&mut self, shim: &LinkRef, setting: Setting, value: i64) -> Result<(), String> {
        let link = self.index(shim)?;
        let settings = self.snapshot.settings.entry(link).or_default();
        *settings.get_mut(&setting).ok_or("ENOENT")? = value;
        if (setting, value) == (Setting::Ipv6Disable, 1) {
            self.flush(link, IpAddr::is_ipv6);
            self.snapshot.addresses.retain(|key, _| key.link != link || key.address.addr().is_ipv4());
        }
        Ok(())
    }

    fn add_own_address(&mut self, shim: &LinkRef, address: IpNet) -> Result<(), String> {
        let link = self.index(shim)?;
        self.needs(link, Family::of(address))?;
        let key = AddressKey { link, address };
        let new = HostAddress { usable: true, ours: true, ..HostAddress::default() };
        self.snapshot.addresses.entry(key).or_insert(new);
        Ok(())
    }

    fn set_up(&mut self, shim: &LinkRef) -> Result<(), String> {
        let link = self.link_mut(shim)?.clone();
        if self.is_taken(&link) {
            return Err("EADDRINUSE".to_owned());
        }
        self.set_link_up(link.index);
        Ok(())
    }

    /// A link goes up, and the networks of its addresses appear on it.
    pub(crate) fn set_link_up(&mut self, index: LinkIndex) {
        if let Some(link) = self.snapshot.links.get_mut(&index) {
            link.up = true;
        }
        let addresses = self.snapshot.addresses.iter().filter(|(key, _)| key.link == index);
        for (key, value) in addresses.map(|(key, value)| (*key, *value)).collect::<Vec<_>>() {
            self.connect(key, &value);
        }
    }

    /// Whether another link on the same parent has the MAC of this one.
    fn is_taken(&self, link: &Link) -> bool {
        let twin = |other: &&Link| {
            other.index != link.index && other.up && other.lower == link.lower && other.mac == link.mac
        };
        let children = self.snapshot.children.values();
        let mut macs = children.filter(|child| Some(child.parent) == link.lower).map(|child| child.mac);
        macs.any(|mac| Some(mac) == link.mac)
            || self.snapshot.links.values().any(|other| twin(&other))
            || link.mac.is_some_and(|mac| self.hidden_macs.contains(&mac))
    }

    /// `NLM_F_CREATE` with `NLM_F_EXCL`, or with `NLM_F_REPLACE`.
    pub(crate) fn set_route(&mut self, key: RouteKey, route: Route, replace: bool) -> Result<(), String> {
        if route.kind == RouteKind::Unicast && !self.snapshot.links.get(&key.link).ok_or("ENODEV")?.up {
            return Err("ENETDOWN".to_owned());
        }
        self.needs(key.link, Family::of(key.destination))?;
        if route.source.is_some_and(|source| !self.is_local(source)) {
            return Err("EINVAL".to_owned());
        }
        let same =
            |at: &RouteKey| (at.table, at.destination, at.metric) == (key.table, key.destination, key.metric);
        let standing =
            self.snapshot.routes.iter().find(|(at, _)| same(at)).map(|(at, stands)| (*at, *stands));
        match standing {
            Some((at, stands)) if at == key && stands == route => return Ok(()),
            Some(_) if !replace => return Err("EEXIST".to_owned()),
            Some((at, _)) => {
                self.snapshot.routes.remove(&at);
                self.snapshot.routing.take(&at);
            }
            None => {}
        }
        self.snapshot.routes.insert(key, route);
        if !route.ours {
            let hops = (route.kind == RouteKind::Unicast).then_some(Hop { link: key.link, gateway: None });
            self.snapshot.routing.put(key, Way { kind: route.kind, hops: hops.into_iter().collect() });
        }
        Ok(())
    }

    /// One of the host's own routes.
    pub(crate) fn add_way(&mut self, key: RouteKey, way: Way) -> Result<(), String> {
        for hop in &way.hops {
            let up = self.snapshot.links.get(&hop.link).ok_or("ENODEV")?.up;
            up.then_some(()).ok_or("ENETDOWN")?;
        }
        self.needs(key.link, Family::of(key.destination))?;
        self.snapshot.routing.put(key, way);
        Ok(())
    }

    /// The host, or its DHCP client, gives a link an address.
    pub(crate) fn add_address(&mut self, key: AddressKey, value: HostAddress) {
        self.snapshot.addresses.insert(key, value);
        self.connect(key, &value);
    }

    /// The network of an address is on its link.
    fn connect(&mut self, key: AddressKey, value: &HostAddress) {
        let at = connected(key, value);
        if !value.ours
            && !is_host(&at.destination)
            && self.snapshot.links.get(&key.link).is_some_and(|it| it.up)
        {
            self.snapshot.routing.put(at, Way::through(key.link, None));
            let route = Route { source: None, ours: false, gateway: false, kind: RouteKind::Unicast };
            self.snapshot.routes.insert(at, route);
        }
    }

    /// The host, or its DHCP client, takes an address away.
    pub(crate) fn remove_address(&mut self, key: AddressKey) {
        let Some(value) = self.snapshot.addresses.remove(&key) else { return };
        let route = connected(key, &value);
        let mut others = self.snapshot.addresses.iter();
        let connects = !value.ours && !is_host(&route.destination);
        if connects && !others.any(|(other, value)| connected(*other, value) == route) {
            self.snapshot.routing.take(&route);
            self.snapshot.routes.remove(&route);
        }
        let address = key.address.addr();
        let mut on_link = self.snapshot.addresses.keys().filter(|other| other.link == key.link);
        if address.is_ipv4() && !on_link.any(|other| other.address.addr().is_ipv4()) {
            self.flush(key.link, IpAddr::is_ipv4);
        }
        if self.is_local(address) {
            return;
        }
        self.snapshot.routes.retain(|_, route| address.is_ipv6() || route.source != Some(address));
        for route in self.snapshot.routes.values_mut().filter(|route| route.source == Some(address)) {
            route.source = None;
        }
    }

    /// Somebody changes the flags of a link. A change of ARP makes the kernel forget its neighbours.
    pub(crate) fn set_flags(&mut self, link: LinkIndex, multicast: bool, arp: bool) {
        let Some(standing) = self.snapshot.links.get_mut(&link) else { return };
        if standing.arp != arp {
            self.snapshot.neighbours.retain(|(_, at), _| *at != link);
        }
        (standing.multicast, standing.arp) = (multicast, arp);
    }

    /// Somebody sets a link down.
    pub(crate) fn set_down(&mut self, link: LinkIndex) {
        if let Some(link) = self.snapshot.links.get_mut(&link) {
            link.up = false;
        }
        self.flush(link, |_| true);
        let ipv6: Vec<_> = self.snapshot.addresses.keys().filter(|key| key.link == link).copied().collect();
        for key in ipv6.into_iter().filter(|key| key.address.addr().is_ipv6()) {
            self.remove_address(key);
        }
    }

    /// A link goes. Somebody deletes it or pulls it out, or the link below it goes.
    pub(crate) fn remove_link(&mut self, index: LinkIndex) {
        self.last_index = self.last_index.max(index);
        self.set_down(index);
        let addresses: Vec<_> =
            self.snapshot.addresses.keys().filter(|key| key.link == index).copied().collect();
        addresses.into_iter().for_each(|key| self.remove_address(key));
        lose_hops(&mut self.snapshot.routing, index);
        self.snapshot.links.remove(&index);
        self.snapshot.settings.remove(&index);
        self.snapshot.children.retain(|_, child| child.parent != index);
        let upon =
            self.snapshot.links.values().filter(|link| link.lower == Some(index)).map(|link| link.index);
        upon.collect::<Vec<_>>().into_iter().for_each(|link| self.remove_link(link));
        let ports = self.snapshot.links.values_mut().filter(|link| link.master == Some(index));
        ports.for_each(|link| link.master = None);
    }

    /// Takes the routes, neighbours and proxies of a family from a link.
    fn flush(&mut self, link: LinkIndex, family: impl Fn(&IpAddr) -> bool) {
        self.snapshot.routes.retain(|key, _| key.link != link || !family(&key.destination.addr()));
        self.snapshot.routing.take_link(link, |destination| family(&destination.addr()));
        self.snapshot.neighbours.retain(|(address, at), _| *at != link || !family(address));
        self.snapshot.proxies.retain(|(at, address), _| *at != link || !family(&IpAddr::V6(*address)));
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.snapshot.addresses.keys().any(|key| key.address.addr() == address)
    }

    fn needs(&self, link: LinkIndex, family: Family) -> Result<(), String> {
        let disabled =
            self.snapshot.settings.get(&link).and_then(|settings| settings.get(&Setting::Ipv6Disable));
        match family == Family::V6 && (!self.snapshot.host.ipv6 || disabled == Some(&1)) {
            true => Err("EACCES".to_owned()),
            false => Ok(()),
        }
    }

    /// By ifindex if the link exists, else by name.
    fn index(&self, shim: &LinkRef) -> Result<LinkIndex, String> {
        let found = match shim.index {
            Some(index) => self.snapshot.links.get(&index),
            None => self.snapshot.link_named(&shim.name).filter(|link| link.shim_parent().is_some()),
        };
        found.map(|link| link.index).ok_or_else(|| "ENODEV".to_owned())
    }

    fn link_mut(&mut self, shim: &LinkRef) -> Result<&mut Link, String> {
        let index = self.index(shim)?;
        self.snapshot.links.get_mut(&index).ok_or_else(|| "ENODEV".to_owned())
    }
}

/// By ifindex.
fn standing(link: &LinkRef) -> Result<LinkIndex, String> {
    link.index.ok_or_else(|| "ENODEV".to_owned())
}

/// The sysctls that the kernel gives to a new link.
pub(crate) fn default_settings(ipv6: bool) -> BTreeMap<Setting, i64> {
    let value = |setting| match setting {
        Setting::AcceptRedirects | Setting::SendRedirects => 1,
        Setting::RpFilter => 2,
        Setting::Ipv6AcceptRa | Setting::Ipv6AcceptRedirects => 1,
        Setting::Ipv6ProxyDelay => 80,
        Setting::Solicit | Setting::Ipv6Solicit => 3,
        _ => 0,
    };
    let there = Setting::ALL.into_iter().filter(|setting| ipv6 || setting.family() == Family::V4);
    there.map(|setting| (setting, value(setting))).collect()
}

/// The route that the kernel makes for an address.
fn connected(key: AddressKey, value: &HostAddress) -> RouteKey {
    let destination = key.network(value);
    let metric = if destination.addr().is_ipv6() { 256 } else { 0 };
    RouteKey { table: TABLE_MAIN, destination, metric, link: key.link }
}

fn both<'a, K: Ord, V>(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    old.keys().chain(new.keys()).collect()
}

/// A link that is gone takes every IPv4 route along that led through it, whatever its other hops. An IPv6 route
/// loses that hop alone (FACTS 68).
pub(crate) fn lose_hops(routing: &mut Routing, link: LinkIndex) {
    let through = |(key, way): (&RouteKey, &Way)| {
        way.hops.iter().any(|hop| hop.link == link).then(|| (*key, way.clone()))
    };
    let lost: Vec<(RouteKey, Way)> = routing.iter().filter_map(through).collect();
    for (key, mut way) in lost {
        routing.take(&key);
        way.hops.retain(|hop| hop.link != link);
        let link = match way.hops.as_slice() {
            [] => continue,
            [only] => only.link,
            _ => LinkIndex::NONE,
        };
        if key.destination.addr().is_ipv6() {
            routing.put(RouteKey { link, ..key }, way);
        }
    }
}
