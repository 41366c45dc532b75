//! The snapshot, kept current by events and dumps.
//!
//! Objects of the host come whole with their events and are kept by their key. An event in the namespace of a
//! guest only says which slice to read again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::filters::Filters;
use super::shortfall::Shortfall;
use super::slice::Slice;
use super::stale::Stale;
use crate::kernel::object::next_hop::NextHops;
use crate::kernel::object::{address, link, question, sysctl};
use crate::model::dropped::DroppedPackets;
use crate::model::inventory::Home;
use crate::model::neighbours::NeighbourTable;
use crate::model::snapshot::{AddressKey, Child, ChildKey, GuestAddress, HostAddress, Link, LinkKind, Netns};
use crate::model::{Changes, LinkIndex, NetnsId, PerFamily, Snapshot};

/// The snapshot, its changes, and its stale slices.
#[derive(Debug)]
pub(in crate::kernel) struct State {
    pub(in crate::kernel) snapshot: Snapshot,
    pub(in crate::kernel) changes: Changes,
    pub(in crate::kernel) stale: Stale,
    /// The host's namespace in its own table of netns ids.
    pub(in crate::kernel) own_id: NetnsId,
    /// The homes whose namespaces are wanted.
    pub(in crate::kernel) wanted_homes: BTreeSet<Home>,
    pub(in crate::kernel) filters: Filters,
    /// The objects that the snapshot lacks, by namespace.
    pub(in crate::kernel) shortfalls: BTreeMap<Netns, Shortfall>,
    /// The packets that the filters have dropped, as of the last listing. No decision depends on them.
    pub(in crate::kernel) dropped: Vec<DroppedPackets>,
    /// No decision depends on them either.
    pub(in crate::kernel) tables: Vec<NeighbourTable>,
    /// Number of the host's neighbour entries that are exempt from the limits of these tables.
    pub(in crate::kernel) exempt: PerFamily<u32>,
    /// The next-hop objects, for routes that name one and show nothing else.
    pub(in crate::kernel) next_hops: NextHops,
    /// The kernel shows which program made an address (Linux 5.18).
    pub(in crate::kernel) shows_address_protocol: bool,
}

impl State {
    /// Nothing is known yet. `own_id`: the host's namespace in its own table of netns ids.
    pub(in crate::kernel) fn new(own_id: NetnsId, now: Instant) -> State {
        State {
            snapshot: Snapshot::default(),
            changes: Changes::default(),
            stale: Stale::new(now),
            own_id,
            wanted_homes: BTreeSet::new(),
            filters: Filters::default(),
            shortfalls: BTreeMap::new(),
            dropped: Vec::new(),
            tables: Vec::new(),
            exempt: PerFamily::default(),
            next_hops: NextHops::default(),
            shows_address_protocol: false,
        }
    }

    /// Sets the time.
    pub(in crate::kernel) fn tick(&mut self, now: Instant) {
        self.stale.tick(now);
        self.filters.tick(now);
    }

    /// We have written to the slice. Its next reading counts as a change even if everything is as before,
    /// because then somebody has undone our write.
    pub(in crate::kernel) fn written(&mut self, slice: Slice) {
        self.stale.add(slice);
        self.changes.all = true;
    }

    /// A question about an address was put to the LAN.
    pub(in crate::kernel) fn asked(&mut self, link: LinkIndex, address: IpAddr) {
        let Some((group, entry)) = question::entry_of_group(address) else { return };
        let old = self.snapshot.neighbours.insert((group, link), entry);
        self.changes.neighbour(group, old.as_ref(), Some(&entry));
    }

    /// Takes in the present state of a link of the host.
    pub(in crate::kernel) fn put_link(&mut self, seen: link::Seen) {
        let index = seen.index;
        if seen.is_shim() {
            // It may have lost its carrier, and with it all proxy entries.
            self.stale.add(Slice::Proxies);
        }
        let old = self.snapshot.links.get(&index);
        let link = host_link(seen, old);
        if old == Some(&link) {
            return;
        }
        let is_carrier_alone =
            old.is_some_and(|old| Link { no_carrier: link.no_carrier, ..old.clone() } == link);
        let is_shim = link.shim_parent().is_some();
        let went_down = old.is_some_and(|old| old.up && !link.up);
        if is_shim && old.is_none_or(|old| old.name != link.name || old.shim_parent().is_none()) {
            self.stale.add(Slice::Settings);
        }
        if went_down && (is_shim || self.carries_routes(index)) {
            self.lost_silently();
        }
        self.changes.all |= !is_carrier_alone || self.is_parent(index);
        self.snapshot.links.insert(index, link);
        self.host_child(index);
    }

    /// Whether a link has children.
    fn is_parent(&self, index: LinkIndex) -> bool {
        let mut parents = self.snapshot.children.values().map(|child| child.parent);
        parents.any(|parent| parent == index)
            || self.snapshot.links.values().any(|link| link.shim_parent() == Some(index))
    }

    /// A link of the host is gone, and with it everything on it.
    pub(in crate::kernel) fn drop_link(&mut self, index: LinkIndex) {
        let snapshot = &mut self.snapshot;
        if snapshot.links.remove(&index).is_none() {
            return;
        }
        self.changes.all = true;
        snapshot.addresses.retain(|key, _| key.link != index);
        snapshot.routes.retain(|key, _| key.link != index);
        snapshot.routing.take_link(index, |_| true);
        snapshot.neighbours.retain(|(_, link), _| *link != index);
        snapshot.proxies.retain(|(link, _), _| *link != index);
        snapshot.settings.remove(&index);
        self.stale.defer(Slice::Routes, Self::GATEWAYS);
        self.host_child(index);
    }

    /// Takes in the present state of an address of the host.
    pub(in crate::kernel) fn put_address(&mut self, seen: address::Seen) {
        let value = self.host_address(&seen);
        if self.snapshot.addresses.insert(seen.key, value) != Some(value) {
            self.changes.all = true;
            self.host_child(seen.key.link);
        }
    }

    /// An address of the host is gone.
    pub(in crate::kernel) fn drop_address(&mut self, key: AddressKey) {
        self.lost_silently();
        if self.snapshot.addresses.remove(&key).is_some() {
            self.changes.all = true;
            self.host_child(key.link);
        }
    }

    /// Whether the snapshot has this address of the host. Of link-local addresses it has only ours.
    pub(in crate::kernel) fn keeps(&self, seen: &address::Seen) -> bool {
        seen.is_kept() || self.host_address(seen).ours
    }

    /// An address as a message shows it. If the kernel does not show the program that made an address, its
    /// place decides: on a link of ours every address is ours. So is an address that the kernel itself makes
    /// there, when IPv6 starts again with none of our settings.
    pub(in crate::kernel) fn host_address(&self, seen: &address::Seen) -> HostAddress {
        let mut value = seen.host();
        if !self.shows_address_protocol || seen.is_made_by_kernel() {
            value.ours =
                self.snapshot.links.get(&seen.key.link).is_some_and(|link| link.shim_parent().is_some());
        }
        value
    }

    /// The kernel drops routes, permanent neighbours and proxy entries without an event.
    pub(in crate::kernel) fn lost_silently(&mut self) {
        for slice in [Slice::Routes, Slice::Neighbours, Slice::Proxies] {
            self.stale.add(slice);
        }
    }

    /// How long further events are awaited before the gateways are read again. A router drops routes by the
    /// thousand, and one gateway too many only refuses an address a little longer.
    pub(in crate::kernel) const GATEWAYS: Duration = Duration::from_secs(1);

    /// How long further events are awaited before the filters are read again, because that takes a process.
    pub(in crate::kernel) const FILTER: Duration = Duration::from_millis(20);

    /// How long a namespace with objects that were left out waits for its next reading, unless it changes.
    const SHORTFALL: Duration = Duration::from_secs(30);

    fn carries_routes(&self, index: LinkIndex) -> bool {
        self.snapshot.routing.leads_through(index) || self.snapshot.routes.keys().any(|key| key.link == index)
    }

    /// Checks again whether a link of the host is a child (a VM's, or not of any server), and its addresses.
    pub(in crate::kernel) fn host_child(&mut self, index: LinkIndex) {
        let key = ChildKey { netns: Netns::Host, index };
        let addresses = self.snapshot.addresses.iter().filter(|(key, _)| key.link == index);
        let child = self.snapshot.links.get(&index).and_then(|link| {
            let child = Child::of_link(&link.kind, link.lower?, link.mac?, &link.name, link.up);
            let mut child = child.filter(|_| link.shim_parent().is_none())?;
            child.addresses = addresses.map(|(key, value)| (key.address, guest_address(value))).collect();
            Some(child)
        });
        self.put_child(key, child);
    }

    /// A child is in this state, or gone.
    pub(in crate::kernel) fn put_child(&mut self, key: ChildKey, child: Option<Child>) {
        let children = &mut self.snapshot.children;
        if let Netns::Id(id) = key.netns
            && children.get(&key).map(|old| old.mac) != child.as_ref().map(|child| child.mac)
        {
            self.filters.caused_by(id);
        }
        self.changes.child(key, children.get(&key), child.as_ref());
        match child {
            Some(child) => drop(children.insert(key, child)),
            None => drop(children.remove(&key)),
        }
    }

    /// An event of a namespace could not be heard or read. If it is a guest's namespace, only that is
    /// affected, and is read again. Returns whether it is a guest's.
    pub(in crate::kernel) fn unheard(&mut self, netns: Option<NetnsId>) -> bool {
        let guest = netns.filter(|id| *id >= NetnsId::FIRST && *id != self.own_id);
        guest.into_iter().for_each(|id| self.stale.add(Slice::Namespace(id)));
        guest.is_some()
    }

    /// These objects of a namespace are left out. It is read again after a while, because there may be fewer
    /// objects by then.
    pub(in crate::kernel) fn put_shortfall(&mut self, netns: Netns, shortfall: Shortfall) {
        if shortfall.is_empty() {
            self.shortfalls.remove(&netns);
            return;
        }
        let slice = match netns {
            Netns::Host => Slice::Links,
            Netns::Id(id) => Slice::Namespace(id),
        };
        self.stale.defer(slice, Self::SHORTFALL);
        self.shortfalls.insert(netns, shortfall);
    }

    /// One guest's namespace has these children, and no others.
    pub(in crate::kernel) fn put_namespace(&mut self, id: NetnsId, mut found: BTreeMap<LinkIndex, Child>) {
        let known: Vec<LinkIndex> = self.children_in(id).map(|key| key.index).collect();
        for index in known {
            self.put_child(ChildKey { netns: Netns::Id(id), index }, found.remove(&index));
        }
        for (index, child) in found {
            self.put_child(ChildKey { netns: Netns::Id(id), index }, Some(child));
        }
    }

    /// The namespaces that have children here.
    pub(in crate::kernel) fn namespaces(&self) -> BTreeSet<NetnsId> {
        let id = |key: &ChildKey| match key.netns {
            Netns::Id(id) => Some(id),
            Netns::Host => None,
        };
        self.snapshot.children.keys().filter_map(id).collect()
    }

    /// The children in a namespace that are ports of the link with that ifindex there.
    pub(in crate::kernel) fn ports_of(&self, id: NetnsId, master: LinkIndex) -> Vec<LinkIndex> {
        let is_port = |key: &&ChildKey| {
            let its = self.snapshot.children.get(key).and_then(|child| child.master.as_ref());
            its.is_some_and(|its| its.index == master)
        };
        self.children_in(id).filter(is_port).map(|key| key.index).collect()
    }

    /// The children that a namespace has.
    pub(in crate::kernel) fn children_in(&self, id: NetnsId) -> impl Iterator<Item = &ChildKey> {
        let netns = Netns::Id(id);
        let all = ChildKey { netns, index: LinkIndex::NONE }..=ChildKey { netns, index: LinkIndex::LAST };
        self.snapshot.children.range(all).map(|(key, _)| key)
    }
}

fn host_link(seen: link::Seen, old: Option<&Link>) -> Link {
    let may_be_wireless = seen.kind == LinkKind::default() && seen.mac.is_some();
    let wireless = match old {
        Some(old) if old.name == seen.name => old.wireless,
        _ => may_be_wireless && sysctl::is_wireless(&seen.name),
    };
    Link {
        index: seen.index,
        lower: seen.lower.filter(|_| seen.lower_netns.is_none()),
        name: seen.name,
        kind: seen.kind,
        mac: seen.mac,
        mtu: seen.mtu,
        up: seen.up,
        no_carrier: seen.no_carrier,
        multicast: seen.multicast,
        arp: seen.arp,
        protodown: seen.protodown,
        group: seen.group,
        made_with: seen.made_with,
        master: seen.master,
        wireless,
        arp_ignore: seen.arp_ignore,
    }
}

fn guest_address(value: &HostAddress) -> GuestAddress {
    if value.usable { GuestAddress::Settled } else { GuestAddress::Tentative }
}
