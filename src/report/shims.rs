//! The shims, and the routes through them that no server vouches for.

use super::material::Material;
use crate::model::LinkIndex;
use crate::model::snapshot::Link;
use crate::model::status::{ShimState, ShimStatus, UnclaimedStatus};
use crate::reconcile::Decision;
use crate::reconcile::shims::DesiredShim;

impl Material<'_> {
    /// A shim that exists, or should.
    pub(super) fn shim(&self, parent: LinkIndex, shim: &DesiredShim) -> ShimStatus {
        let link = shim.link.index.and_then(|index| self.snapshot.links.get(&index));
        let failure = self.failure_of_shim(&shim.link.name);
        let obstacle = shim.obstacle.as_ref().map(|obstacle| obstacle.message.clone());
        let message = obstacle.or_else(|| failure.map(|error| error.message.clone()));
        let outage = self.snapshot.links.get(&parent).and_then(Link::outage).map(|(_, sentence)| sentence);
        let served =
            |decision: &&Decision| matches!(decision, Decision::Served { parent: on, .. } if *on == parent);
        let addresses = self.snapshot.addresses.keys().filter(|key| Some(key.link) == shim.link.index);
        let addresses = addresses
            .map(|key| key.address.addr())
            .filter(|own| shim.addresses.iter().any(|given| given.addr() == *own));
        let routes = self.snapshot.routes.iter().filter(|(key, route)| {
            route.ours && Some(key.link) == shim.link.index && shim.ranges.contains_key(&key.destination)
        });
        let routes = routes.map(|(key, _)| key.destination);
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
            routes: routes.collect(),
            nics: self.desired.decisions.values().filter(served).count(),
            message: message.or(outage),
        }
    }

    /// The routes that stay although no server vouches for their guest.
    pub(super) fn unclaimed(&self) -> Vec<UnclaimedStatus> {
        let unclaimed = self.desired.held.holders.iter().filter(|(_, holder)| holder.nic.is_none());
        let shown = unclaimed.filter_map(|(address, holder)| {
            let shim = self.desired.shims.get(&holder.parent)?.link.name.clone();
            Some(UnclaimedStatus { address: *address, shim, mac: holder.mac })
        });
        shown.collect()
    }
}
