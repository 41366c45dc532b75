//! The guests, and the outcome for each of their addresses.

use std::net::IpAddr;

use smol_str::{SmolStr, ToSmolStr};

use super::material::Material;
use super::passage::Passage;
use crate::model::inventory::{Guest, Nics};
use crate::model::snapshot::ChildKey;
use crate::model::status::{AddressState, AddressStatus, GuestStatus, NicState, NicStatus};
use crate::model::{Code, GuestKey, LinkIndex, Mac, NicKey};
use crate::reconcile::Decision;
use crate::reconcile::admit::Verdict;
use crate::reconcile::select::NO_ADDRESS;

impl Material<'_> {
    /// A guest and its NICs.
    pub(super) fn guest(&self, key: &GuestKey, guest: &Guest) -> GuestStatus {
        let told = guest.nics.told().iter().map(|nic| {
            let key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            self.nic(&key, nic.parent.to_smolstr(), nic.mac)
        });
        let found = self.memory.joins.nics_of(key).filter(|_| guest.nics == Nics::AllInItsNamespace);
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
        let passage = self.passage(parent, mac);
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
        if let Some((code, message)) = passage.blocked() {
            status.state = NicState::Failed;
            status.reason = Some(code.to_string());
            status.message = Some(message);
        } else if status.state == NicState::Waiting {
            status.reason = Some(Code::NoAddress.to_string());
            status.message = Some(NO_ADDRESS.to_owned());
        }
    }

    fn address(&self, passage: &Passage<'_, '_>, address: IpAddr, verdict: &Verdict) -> AddressStatus {
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
                match passage.to(mac).obstruction(address, *source) {
                    None => status(AddressState::Routed, Some(*source), None, None),
                    Some((code, message)) => status(AddressState::Failed, None, Some(code), Some(message)),
                }
            }
        }
    }
}
