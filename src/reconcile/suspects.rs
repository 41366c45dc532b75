//! Guests that are not trusted, because an address that they claimed turned out to be another machine's.
//!
//! Distrust belongs to the guest: another NIC, another MAC or a restart does not shed it. It lasts for as long as the
//! guest exists.

use std::collections::BTreeSet;

use super::claims::Claimants;
use crate::model::snapshot::ChildKey;
use crate::model::{GuestKey, Inventory, Snapshot};

/// One that is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspect {
    /// A guest.
    Guest(GuestKey),
    /// A child that no server vouches for. It claims nothing new, so there is nothing to gain by making another one. If
    /// a server vouches for it later, its guest is the suspect.
    Child(ChildKey),
}

impl Suspect {
    /// What there is to suspect of a child.
    pub(super) fn of(claimants: &Claimants, child: ChildKey) -> Suspect {
        match claimants.served.get(&child) {
            Some(served) => Suspect::Guest(served.nic.guest.clone()),
            None => Suspect::Child(child),
        }
    }

    /// It still exists. A guest of a server that was not read may.
    fn exists(&self, inventory: &Inventory, snapshot: &Snapshot) -> bool {
        match self {
            Suspect::Child(child) => snapshot.children.contains_key(child),
            Suspect::Guest(GuestKey { server, project, name }) => {
                inventory.servers.get(server).is_some_and(|server| match &server.guests {
                    Some(guests) => {
                        guests.iter().any(|guest| guest.project == *project && guest.name == *name)
                    }
                    None => true,
                })
            }
        }
    }
}

/// Those that still exist, each as what it is now.
pub(super) fn still_distrusted(
    distrusted: &BTreeSet<Suspect>,
    claimants: &Claimants,
    inventory: &Inventory,
    snapshot: &Snapshot,
) -> BTreeSet<Suspect> {
    let known = distrusted.iter().filter(|suspect| suspect.exists(inventory, snapshot));
    let now = known.map(|suspect| match suspect {
        Suspect::Child(child) => Suspect::of(claimants, *child),
        guest @ Suspect::Guest(_) => guest.clone(),
    });
    now.collect()
}
