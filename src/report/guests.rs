//! The guests, and the outcome for each of their addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use smol_str::{SmolStr, ToSmolStr};

use super::material::Material;
use crate::model::inventory::{Guest, Nics};
use crate::model::names::metric;
use crate::model::snapshot::{ChildKey, Link, RouteKey};
use crate::model::status::{AddressState, AddressStatus, GuestStatus, NicState, NicStatus};
use crate::model::{Code, Family, GuestKey, LinkIndex, LinkRef, Mac, NicKey, Op};
use crate::reconcile::Decision;
use crate::reconcile::admit::Verdict;
use crate::reconcile::select::NO_ADDRESS;
use crate::reconcile::shims::DesiredShim;

/// The passage of frames between the host and a NIC.
#[derive(Clone, Copy)]
struct Passage<'a> {
    shim: Option<&'a DesiredShim>,
    /// Why no frame passes the parent.
    outage: Option<&'a (Code, String)>,
    mac: Mac,
}

impl Material<'_> {
    /// A guest and its NICs.
    pub(super) fn guest(&self, key: &GuestKey, guest: &Guest) -> GuestStatus {
        let told = guest.nics.told().iter().map(|nic| {
            let key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            self.nic(&key, nic.parent.to_smolstr(), nic.mac)
        });
        let found = self.joins.nics_of(key).filter(|_| guest.nics == Nics::AllInItsNamespace);
        let found = found.filter_map(|(nic, child)| {
            let child = self.snapshot.children.get(child)?;
            let parent = self.snapshot.links.get(&child.parent);
            let parent = parent.map_or_else(|| "?".into(), |link| link.name.clone());
            Some(self.nic(nic, parent, Some(child.mac)))
        });
        GuestStatus {
            server: key.server.0.clone(),
            project: key.project.clone(),
            name: key.name.clone(),
            kind: guest.kind,
            nics: told.chain(found).collect(),
        }
    }

    fn nic(&self, key: &NicKey, parent: SmolStr, mac: Option<Mac>) -> NicStatus {
        let mut status = NicStatus {
            name: key.nic.clone(),
            parent,
            mac,
            state: NicState::Waiting,
            reason: None,
            message: None,
            since: None,
            addresses: Vec::new(),
        };
        let because = |status: &mut NicStatus, state, code: Code, message: &str| {
            status.state = state;
            status.reason = Some(code.to_string());
            status.message = Some(message.to_owned());
        };
        match self.desired.decisions.get(key) {
            None => {}
            Some(Decision::Stopped) => status.state = NicState::Stopped,
            Some(Decision::Unselected(code, message)) => {
                because(&mut status, NicState::Unselected, *code, message)
            }
            Some(Decision::Unsupported(code, message)) => {
                because(&mut status, NicState::Unsupported, *code, message)
            }
            Some(Decision::Unseen(message)) => {
                because(&mut status, NicState::Waiting, Code::NotSeen, message)
            }
            Some(Decision::Served { child, parent, mac }) => self.served(&mut status, child, *parent, *mac),
        }
        status
    }

    fn served(&self, status: &mut NicStatus, child: &ChildKey, parent: LinkIndex, mac: Mac) {
        if let Some(link) = self.snapshot.links.get(&parent) {
            status.parent.clone_from(&link.name);
        }
        status.mac = Some(mac);
        let shim = self.desired.shims.get(&parent);
        let outage = self.snapshot.links.get(&parent).and_then(Link::outage);
        let passage = Passage { shim, outage: outage.as_ref(), mac };
        let verdicts = self.desired.held.verdicts(child);
        status.addresses =
            verdicts.map(|(address, verdict)| self.address(&passage, address, &verdict)).collect();
        let any = |state| status.addresses.iter().any(|address| address.state == state);
        status.state = match () {
            () if any(AddressState::Routed) => NicState::Reachable,
            () if any(AddressState::Failed) => NicState::Failed,
            () if status.addresses.is_empty() => NicState::Waiting,
            () => NicState::Refused,
        };
        let obstacle = shim.and_then(|shim| shim.obstacle.as_ref());
        let obstacle = obstacle.map(|obstacle| (obstacle.code, obstacle.message.clone()));
        if let Some((code, message)) = obstacle.or(outage) {
            status.state = NicState::Failed;
            status.reason = Some(code.to_string());
            status.message = Some(message);
        } else if status.state == NicState::Waiting {
            status.reason = Some(Code::NoAddress.to_string());
            status.message = Some(NO_ADDRESS.to_owned());
        }
    }

    fn address(&self, passage: &Passage<'_>, address: IpAddr, verdict: &Verdict) -> AddressStatus {
        let status = |state, source, reason: Option<Code>, message| AddressStatus {
            address,
            state,
            source,
            reason: reason.map(|code| code.to_string()),
            message,
            since: None,
        };
        match verdict {
            Verdict::Refused(refusal) => {
                let message = Some(refusal.message.clone());
                status(AddressState::Refused, None, Some(refusal.code), message)
            }
            Verdict::Admitted { source } => {
                let mac = self.desired.held.holders.get(&address).map_or(passage.mac, |holder| holder.mac);
                match self.obstruction(&Passage { mac, ..*passage }, address, *source) {
                    None => status(AddressState::Routed, Some(*source), None, None),
                    Some((code, message)) => status(AddressState::Failed, None, Some(code), Some(message)),
                }
            }
        }
    }

    /// Why an admitted address is not routed; `None` if the kernel shows its route and its neighbour, no
    /// filter drops its frames, and frames pass the parent.
    fn obstruction(&self, passage: &Passage<'_>, address: IpAddr, source: IpAddr) -> Option<(Code, String)> {
        let Passage { shim, outage, mac } = *passage;
        let Some(shim) = shim else { return Some((Code::Pending, "not applied yet".to_owned())) };
        if let Some(obstacle) = &shim.obstacle {
            return Some((obstacle.code, obstacle.message.clone()));
        }
        if let Some(outage) = outage {
            return Some(outage.clone());
        }
        let index = shim.link.index.unwrap_or(LinkIndex::NONE);
        let family = Family::of(address);
        let key = RouteKey {
            table: shim.tables[family],
            destination: IpNet::from(address),
            metric: metric(family),
            link: index,
        };
        let route =
            self.snapshot.routes.get(&key).is_some_and(|route| route.ours && route.source == Some(source));
        let neighbour = self.snapshot.neighbours.get(&(address, index));
        let neighbour = neighbour.is_some_and(|entry| entry.ours && entry.mac == Some(mac));
        let up = self.snapshot.links.get(&index).is_some_and(|link| link.up && !link.no_carrier);
        if route && neighbour && up {
            return self.filtered(&shim.link, mac);
        }
        let failure = self.failure_of_address(&shim.link.name, address);
        let failure = failure.or_else(|| self.failure_of_shim(&shim.link.name));
        let pending = || (Code::Pending, "not applied yet".to_owned());
        Some(failure.map_or_else(pending, |error| (error.code, error.message.clone())))
    }

    /// The existing filter does not have this MAC.
    fn filtered(&self, shim: &LinkRef, mac: Mac) -> Option<(Code, String)> {
        let filter = &self.snapshot.filter;
        if filter.shims.get(&shim.index?)?.macs.as_ref()?.contains(&mac) {
            return None;
        }
        let mut failures = self.schedule.failures_at(None);
        let failure = failures.find(|(op, _)| matches!(op, Op::SetFilter { shim: at, .. } if at == shim));
        let why = failure.map(|(_, error)| &error.message).or(filter.lacks.as_ref());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Some((Code::Filtered, format!("the filter on {shim} does not let {mac} pass yet{why}")))
    }
}
