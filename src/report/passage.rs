//! The passage of frames between the host and a NIC, and whatever obstructs it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::material::Material;
use crate::model::names::metric;
use crate::model::snapshot::{Link, RouteKey};
use crate::model::{Code, Family, LinkIndex, Mac, Op};
use crate::reconcile::shims::DesiredShim;

/// The passage of frames between the host and a NIC.
#[derive(Clone, Copy)]
pub(super) struct Passage<'m, 'a> {
    pub(super) material: &'m Material<'a>,
    parent: Option<&'a Link>,
    pub(super) shim: Option<&'a DesiredShim>,
    /// The MAC at which the NIC is reached.
    pub(super) mac: Mac,
}

impl<'a> Material<'a> {
    /// The passage to a NIC with this MAC on that parent.
    pub(super) fn passage(&self, parent: LinkIndex, mac: Mac) -> Passage<'_, 'a> {
        let Material { desired, snapshot, .. } = *self;
        Passage { material: self, parent: snapshot.links.get(&parent), shim: desired.shims.get(&parent), mac }
    }
}

impl Passage<'_, '_> {
    /// The same to another MAC.
    pub(super) fn to(self, mac: Mac) -> Self {
        Passage { mac, ..self }
    }

    /// Why an admitted address is not routed; `None` if the kernel shows its route and its neighbour, no
    /// filter drops its frames, and frames pass the parent.
    pub(super) fn obstruction(&self, address: IpAddr, source: IpAddr) -> Option<(Code, String)> {
        self.blocked()
            .or_else(|| self.unready())
            .or_else(|| self.unrouted(address, source))
            .or_else(|| self.unknown(address))
            .or_else(|| self.filtered())
    }

    /// No shim is possible on the parent, or no frame passes it.
    pub(super) fn blocked(&self) -> Option<(Code, String)> {
        let obstacle = self.shim.and_then(|shim| shim.obstacle.as_ref());
        let obstacle = obstacle.map(|obstacle| (obstacle.code, obstacle.message.clone()));
        obstacle.or_else(|| self.parent.and_then(Link::outage))
    }

    /// The shim does not exist or is not up.
    pub(super) fn unready(&self) -> Option<(Code, String)> {
        let Some(shim) = self.shim else { return Some(pending()) };
        let link = self.material.snapshot.links.get(&self.link());
        if link.is_some_and(|link| link.up && !link.no_carrier) {
            return None;
        }
        let failure = self.material.failure_of_shim(&shim.link.name);
        Some(failure.map_or_else(pending, |error| (error.code, error.message.clone())))
    }

    /// The kernel does not show the route.
    pub(super) fn unrouted(&self, address: IpAddr, source: IpAddr) -> Option<(Code, String)> {
        let family = Family::of(address);
        let table = self.shim?.tables[family];
        let (destination, metric) = (IpNet::from(address), metric(family));
        let key = RouteKey { table, destination, metric, link: self.link() };
        let route = self.material.snapshot.routes.get(&key);
        let is_right = route.is_some_and(|route| route.ours && route.source == Some(source));
        if is_right { None } else { self.why_not(address) }
    }

    /// The kernel does not show the neighbour entry.
    pub(super) fn unknown(&self, address: IpAddr) -> Option<(Code, String)> {
        let entry = self.material.snapshot.neighbours.get(&(address, self.link()));
        let is_right = entry.is_some_and(|entry| entry.ours && entry.mac == Some(self.mac));
        if is_right { None } else { self.why_not(address) }
    }

    /// The existing filter does not have this MAC.
    pub(super) fn filtered(&self) -> Option<(Code, String)> {
        let (shim, mac) = (&self.shim?.link, self.mac);
        let filter = &self.material.snapshot.filter;
        if filter.shims.get(&shim.index?)?.macs.as_ref()?.contains(&mac) {
            return None;
        }
        let mut failures = self.material.schedule.failures_at(None);
        let failure = failures.find(|(op, _)| matches!(op, Op::SetFilter { shim: at, .. } if at == shim));
        let why = failure.map(|(_, error)| &error.message).or(filter.lacks.as_ref());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Some((Code::Filtered, format!("the filter on {shim} does not let {mac} pass yet{why}")))
    }

    fn link(&self) -> LinkIndex {
        self.shim.and_then(|shim| shim.link.index).unwrap_or(LinkIndex::NONE)
    }

    fn why_not(&self, address: IpAddr) -> Option<(Code, String)> {
        let shim = &self.shim?.link.name;
        let failure = self.material.failure_of_address(shim, address);
        let failure = failure.or_else(|| self.material.failure_of_shim(shim));
        Some(failure.map_or_else(pending, |error| (error.code, error.message.clone())))
    }
}

fn pending() -> (Code, String) {
    (Code::Pending, "not applied yet".to_owned())
}
