//! The memory of distrust, and of unclaimed addresses that are held. Verdicts depend on it.
//!
//! Distrust belongs to the guest: another NIC, another MAC or a restart does not shed it. It lasts as long as
//! the guest exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::snapshot::ChildKey;
use crate::model::{GuestKey, Inventory, LinkIndex, Mac, Snapshot};

/// The memory of distrust, and of unclaimed addresses that are held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trust {
    /// The suspects, each with an address that turned out to be another machine's. Their further addresses
    /// are checked against the LAN first.
    pub distrusted: BTreeSet<Suspect>,
    /// The addresses that are held although no server vouches for their holders. The kernel drops our entries
    /// with a link's carrier or last address, so they are remembered here.
    pub unclaimed: BTreeSet<UnclaimedAddress>,
    /// The addresses about which the LAN had to be asked and could not be, each with the reason.
    pub unasked: BTreeMap<IpAddr, String>,
}

/// A suspect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspect {
    /// A guest.
    Guest(GuestKey),
    /// An unclaimed child. It claims nothing new, so making another one gains nothing. If a server vouches
    /// for it later, its guest is the suspect.
    Child(ChildKey),
}

impl Suspect {
    /// It still exists. A guest of a server that has not been read may exist, so it counts.
    pub(in crate::reconcile) fn exists(&self, inventory: &Inventory, snapshot: &Snapshot) -> bool {
        match self {
            Suspect::Child(child) => snapshot.children.contains_key(child),
            Suspect::Guest(key) => {
                inventory.servers.get(&key.server).is_some_and(|server| match &server.guests {
                    Some(guests) => {
                        guests.iter().any(|guest| guest.project == key.project && guest.name == key.name)
                    }
                    None => true,
                })
            }
        }
    }
}

/// An address that is held although no server vouches for its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnclaimedAddress {
    /// The parent's ifindex.
    pub parent: LinkIndex,
    /// The MAC at which the holder is reached.
    pub mac: Mac,
    /// The address.
    pub address: IpAddr,
}
