//! The owner of each child, and the reason.

use std::collections::BTreeMap;
use std::fmt;

use smol_str::SmolStr;

use crate::model::snapshot::{ChildKey, Netns};
use crate::model::{GuestKey, NicKey, Snapshot};
use crate::reconcile::facts::siblings::siblings_of;

/// The children that are known as guests': the NICs and their siblings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joins {
    children: BTreeMap<ChildKey, Joined>,
    nics: BTreeMap<NicKey, ChildKey>,
}

/// The owner of a child, and the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// The NIC that it is, or the one that it is a sibling of.
    pub nic: NicKey,
    /// The reason.
    pub by: By,
}

/// The reasons for the owner of a child. The order is a law: of several reasons the first one counts,
/// whichever child or NIC it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// It has the server's MAC for the NIC, and is on the server's parent for it.
    ParentAndMac,
    /// It was joined with the NIC before. The guest has changed its MAC, or somebody has changed its parent
    /// in the configuration.
    Remembered,
    /// It has the server's MAC for the NIC, and is the only one with it. The kernel's word on the parent
    /// counts, not the configuration's.
    Mac,
    /// It is in the namespace of the guest's home, and on the server's parent for the NIC, if the server
    /// names one.
    Home,
    /// It is up in the namespace of a NIC and on that NIC's parent: a sibling.
    Sibling,
}

impl fmt::Display for By {
    /// The reason as a clause about the child.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            By::ParentAndMac => "it has the MAC and the parent that the server names",
            By::Remembered => "it was this NIC before, whatever has changed since",
            By::Mac => "it is the only link with the MAC that the server names",
            By::Home => "it is in the network namespace of the guest",
            By::Sibling => "it is a sibling of the NIC, in the same guest",
        })
    }
}

impl Joins {
    /// The child that is a NIC.
    pub(in crate::reconcile) fn child(&self, nic: &NicKey) -> Option<&ChildKey> {
        self.nics.get(nic)
    }

    /// The owner of a child, and the reason.
    pub fn joined(&self, child: &ChildKey) -> Option<&Joined> {
        self.children.get(child)
    }

    /// The NIC that a child is; none for a sibling.
    pub(super) fn nic(&self, child: &ChildKey) -> Option<&NicKey> {
        self.children.get(child).filter(|joined| joined.by != By::Sibling).map(|joined| &joined.nic)
    }

    /// The NICs, and the child that each is.
    pub(super) fn nics(&self) -> impl Iterator<Item = (&NicKey, &ChildKey)> {
        self.nics.iter()
    }

    /// The NICs of a guest, and the child that each is.
    pub fn nics_of(&self, guest: &GuestKey) -> impl Iterator<Item = (&NicKey, &ChildKey)> {
        let first = NicKey { guest: guest.clone(), nic: SmolStr::default() };
        self.nics.range(first.clone()..).take_while(move |(nic, _)| nic.guest == first.guest)
    }

    /// The children that are NICs or siblings of NICs.
    pub(in crate::reconcile) fn children(&self) -> impl Iterator<Item = (&ChildKey, &Joined)> {
        self.children.iter()
    }

    /// The guests with NICs in a namespace.
    pub fn guests_in(&self, netns: Netns) -> impl Iterator<Item = &GuestKey> {
        self.children.range(ChildKey::all_in(netns)).map(|(_, joined)| &joined.nic.guest)
    }

    /// Joins a child with a NIC, if both are free.
    pub(super) fn add(&mut self, child: ChildKey, nic: &NicKey, by: By) {
        if !self.children.contains_key(&child) && !self.nics.contains_key(nic) {
            self.nics.insert(nic.clone(), child);
            self.children.insert(child, Joined { nic: nic.clone(), by });
        }
    }

    /// Adds the siblings of all NICs. A sibling of several NICs counts as the first one's.
    pub(super) fn add_siblings(&mut self, snapshot: &Snapshot) {
        for (nic, child) in &self.nics {
            for (sibling, _) in siblings_of(snapshot, *child) {
                let joined = || Joined { nic: nic.clone(), by: By::Sibling };
                self.children.entry(sibling).or_insert_with(joined);
            }
        }
    }
}
