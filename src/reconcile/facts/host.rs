//! The host's own facts, gathered once for all decisions of a round. They change seldom, and guests'
//! addresses change often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::siblings::reached_at;
use crate::config::Config;
use crate::model::address::is_global_unicast;
use crate::model::inventory::{Inventory, Mode};
use crate::model::names::shim_name;
use crate::model::snapshot::{ChildKey, Link, LinkKind};
use crate::model::{LinkIndex, Mac, Snapshot};

/// The host's facts, gathered once for all verdicts. They hold until [`crate::model::Changes::all`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Every address of the host, on any link, and every address that the configuration gives to a shim.
    pub own: BTreeSet<IpAddr>,
    /// The members of the servers' clusters by their addresses.
    pub members: BTreeMap<IpAddr, String>,
    /// The host's addresses of each link that may be a preferred source, best first.
    pub(super) sources: BTreeMap<LinkIndex, Vec<PreferredSource>>,
    /// The ifindex of the existing shim of each parent.
    pub(super) shims: BTreeMap<LinkIndex, LinkIndex>,
    /// The children by their MAC.
    by_mac: BTreeSet<(Mac, ChildKey)>,
    /// The children by their MAC and by those at which they are reached.
    by_reach: BTreeSet<(Mac, ChildKey)>,
}

/// An address that packets to a guest may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PreferredSource {
    /// Worse ones are later: deprecated, then secondary or temporary.
    deprecated: bool,
    secondary: bool,
    pub(super) address: IpAddr,
    pub(super) network: IpNet,
}

impl HostFacts {
    /// Gathers them.
    pub fn gather(
        config: &Config,
        inventory: &Inventory,
        snapshot: &Snapshot,
        refused_macs: &BTreeSet<Mac>,
    ) -> HostFacts {
        let members = inventory.servers.values().flat_map(|server| server.peers.clone());
        let given = config.parents.values().filter_map(|parent| parent.addresses.as_ref());
        let given = given.chain([&config.shim.addresses]).flatten().copied();
        // Ours are there because the configuration gives them, or are about to go.
        let theirs = snapshot.addresses.iter().filter(|(_, address)| !address.ours);
        let shim_links: BTreeSet<LinkIndex> = snapshot.shims().map(|(_, link)| link.index).collect();
        let mut host = HostFacts {
            own: theirs.map(|(key, _)| key.address.addr()).chain(given).collect(),
            members: members.collect(),
            shims: standing_shims(snapshot, refused_macs),
            by_mac: snapshot.children.iter().map(|(key, child)| (child.mac, *key)).collect(),
            ..HostFacts::default()
        };
        host.by_reach.clone_from(&host.by_mac);
        for (key, child) in snapshot.children.iter().filter(|(_, child)| child.mode != Mode::Bridge) {
            host.by_reach.extend(reached_at(snapshot, *key, child).into_iter().map(|mac| (mac, *key)));
        }
        for (key, address) in &snapshot.addresses {
            if shim_links.contains(&key.link) || address.ours {
                continue;
            }
            if address.usable && is_global_unicast(key.address.addr()) {
                host.sources.entry(key.link).or_default().push(PreferredSource {
                    deprecated: address.deprecated,
                    secondary: address.secondary,
                    address: key.address.addr(),
                    network: key.network(address),
                });
            }
        }
        for sources in host.sources.values_mut() {
            sources.sort();
        }
        host
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

    /// Our neighbour entry on the shim of that very parent names this MAC now.
    pub(in crate::reconcile) fn is_named(
        &self,
        snapshot: &Snapshot,
        parent: LinkIndex,
        mac: Mac,
        address: IpAddr,
    ) -> bool {
        self.shims.get(&parent).is_some_and(|shim| names(snapshot, *shim, mac, address))
    }
}

pub(super) fn names(snapshot: &Snapshot, shim: LinkIndex, mac: Mac, address: IpAddr) -> bool {
    let entry = snapshot.neighbours.get(&(address, shim));
    entry.is_some_and(|entry| entry.ours && entry.mac == Some(mac))
}

/// The shim of each parent. If two bear our mark, the one with the right name counts, then the older. A shim
/// that cannot serve does not count: in another mode, or with a MAC that keeps it from going up.
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
