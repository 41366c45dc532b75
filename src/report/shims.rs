//! The shims, and the routes through them that no server vouches for.

use std::net::IpAddr;

use ipnet::IpNet;

use super::material::Material;
use crate::model::address::is_global_unicast;
use crate::model::snapshot::Link;
use crate::model::status::{ParentState, ShimState, ShimStatus, UnclaimedStatus};
use crate::model::{Code, LinkIndex};
use crate::reconcile::Decision;
use crate::reconcile::shims::DesiredShim;

impl Material<'_> {
    /// A shim that exists, or should.
    pub(super) fn shim(&self, parent: LinkIndex, shim: &DesiredShim) -> ShimStatus {
        let link = shim.link.index.and_then(|index| self.snapshot.links.get(&index));
        let failure = self.failure_of_shim(&shim.link.name);
        let obstacle = shim.obstacle.as_ref().map(|obstacle| obstacle.message.clone());
        let message = obstacle.or_else(|| failure.map(|error| error.message.clone()));
        let parent_link = self.snapshot.links.get(&parent);
        let outage = parent_link.and_then(Link::outage);
        let served =
            |decision: &&Decision| matches!(decision, Decision::Served { parent: on, .. } if *on == parent);
        let addresses = self.snapshot.addresses.keys().filter(|key| Some(key.link) == shim.link.index);
        let addresses = addresses
            .map(|key| key.address.addr())
            .filter(|own| shim.addresses.iter().any(|given| given.addr() == *own));
        let routes = self.snapshot.routes.iter();
        let routes = routes.filter(|(key, route)| route.ours && Some(key.link) == shim.link.index);
        let (ranges, hosts): (Vec<IpNet>, Vec<IpNet>) =
            routes.map(|(key, _)| key.destination).partition(|range| shim.ranges.contains_key(range));
        let filter = shim.link.index.and_then(|index| self.snapshot.filter.shims.get(&index));
        ShimStatus {
            name: shim.link.name.clone(),
            parent: shim.parent.clone(),
            mac: link.and_then(|link| link.mac),
            state: match (link, &message) {
                (_, Some(_)) => ShimState::Failed,
                (Some(link), None) if link.up && !link.no_carrier => ShimState::Up,
                _ => ShimState::Down,
            },
            addresses: addresses.collect(),
            ranges,
            routes: hosts.len(),
            filtered: self.snapshot.filter.usable && filter.is_some_and(|filter| filter.whole),
            parent_state: match (parent_link, &outage) {
                (None, _) => ParentState::Absent,
                (Some(_), None) => ParentState::Up,
                (Some(_), Some((Code::ParentDown, _))) => ParentState::Down,
                (Some(_), Some(_)) => ParentState::NoCarrier,
            },
            host_addresses: self.host_addresses(parent),
            nics: self.desired.decisions.values().filter(served).count(),
            message: message.or(outage.map(|(_, sentence)| sentence)),
            since: None,
        }
    }

    /// The addresses at which guests on a parent reach the host.
    pub(super) fn host_addresses(&self, parent: LinkIndex) -> Vec<IpAddr> {
        let addresses = self.snapshot.addresses.iter().filter(|(key, _)| key.link == parent);
        let usable = addresses.filter(|(_, value)| value.usable && !value.deprecated);
        usable.map(|(key, _)| key.address.addr()).filter(|address| is_global_unicast(*address)).collect()
    }

    /// The routes that stay although no server vouches for their guest.
    pub(super) fn unclaimed(&self) -> Vec<UnclaimedStatus> {
        let unclaimed = self.desired.held.holders.iter().filter(|(_, holder)| holder.nic.is_none());
        let shown = unclaimed.filter_map(|(address, holder)| {
            let shim = self.desired.shims.get(&holder.parent)?.link.name.clone();
            Some(UnclaimedStatus { address: *address, shim, mac: holder.mac, since: None })
        });
        shown.collect()
    }
}
