//! Everything that the steps about one NIC look at.

use crate::model::explanation::{ChainStep, StepName, StepState};
use crate::model::inventory::{Guest, Nic, Server, ServerKind};
use crate::model::snapshot::{Child, ChildKey, Link};
use crate::model::{Code, LinkIndex, NicKey, Severity};
use crate::reconcile::Decision;
use crate::reconcile::facts::Facts;
use crate::report::material::Material;
use crate::report::passage::Passage;

/// Everything that is known of one NIC.
pub(super) struct Gathered<'m, 'a> {
    pub(super) material: &'m Material<'a>,
    pub(super) facts: Facts<'a>,
    pub(super) key: NicKey,
    pub(super) server: Option<&'a Server>,
    pub(super) guest: Option<&'a Guest>,
    /// Its entry in the server's list.
    pub(super) told: Option<&'a Nic>,
    pub(super) decision: Option<&'a Decision>,
    /// The child that is this NIC.
    pub(super) seen: Option<(ChildKey, &'a Child)>,
    /// The parent: the kernel's if the kernel shows the NIC, else the one that the server names.
    pub(super) parent: Option<&'a Link>,
}

impl<'m, 'a> Gathered<'m, 'a> {
    pub(super) fn of(material: &'m Material<'a>, key: NicKey) -> Gathered<'m, 'a> {
        let Material { inventory, snapshot, desired, memory, .. } = *material;
        let facts = material.facts();
        let server = inventory.servers.get(&key.guest.server).map(|server| &**server);
        let mut guests = server.and_then(|server| server.guests.as_ref()).into_iter().flatten();
        let guest = guests.find(|guest| guest.project == key.guest.project && guest.name == key.guest.name);
        let told = guest.and_then(|guest| guest.nics.told().iter().find(|nic| nic.name == key.nic));
        let child = memory.joins.nics_of(&key.guest).find(|(nic, _)| **nic == key).map(|(_, child)| *child);
        let seen = child.and_then(|key| Some((key, snapshot.children.get(&key)?)));
        let told_parent = || told.and_then(|nic| facts.parent_of(nic));
        let parent = match seen {
            Some((_, child)) => snapshot.links.get(&child.parent),
            None => told_parent(),
        };
        let decision = desired.decisions.get(&key);
        Gathered { material, facts, key, server, guest, told, decision, seen, parent }
    }

    /// The kind of its server, which tells the client to use.
    pub(super) fn kind(&self) -> Option<ServerKind> {
        self.server.and_then(|server| server.kind)
    }

    /// The passage of frames between the host and this NIC, if it is served.
    pub(super) fn passage(&self) -> Option<Passage<'m, 'a>> {
        match self.decision {
            Some(Decision::Served { parent, mac, .. }) => Some(self.material.passage(*parent, *mac)),
            _ => None,
        }
    }

    /// The parent's ifindex.
    pub(super) fn parent_index(&self) -> LinkIndex {
        self.parent.map_or(LinkIndex::NONE, |link| link.index)
    }
}

/// A step that keeps the guest from being reached, or explains why it need not be.
pub(super) fn at_fault(name: StepName, code: Code, sentence: impl Into<String>) -> ChainStep {
    let state = match code.severity() {
        Severity::Note => StepState::Warning,
        Severity::Warning | Severity::Error => StepState::Bad,
    };
    ChainStep::new(name, state, sentence).reason(code)
}
