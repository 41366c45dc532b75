//! A claim to an address, its claimant, and the consequences for the address.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::model::{LinkIndex, Mac, NicKey};

/// How long an address stays free after its loss for those that claimed it beside its tenant.
pub const WAIT: Duration = Duration::from_secs(60);
/// The longest time after its loss in which a tenant gets an address back from others.
pub const RETURN: Duration = Duration::from_secs(600);
/// Maximum total time in which two may both have an address while it moves from one to the other. A VRRP
/// router that takes over from a lesser one adds the address some milliseconds before the other lets go.
pub const MOMENT: Duration = Duration::from_secs(1);
/// A tenant may come back for this many times as long as it had the address, so that a guest that runs
/// through the free addresses of a network gets no right to them.
pub(super) const RETURN_FACTOR: u32 = 10;

/// A claimant of addresses: a NIC that a server vouches for, or else a MAC on a parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// The NIC; `None` if no server vouches for it.
    pub nic: Option<NicKey>,
    /// The parent's ifindex.
    pub parent: LinkIndex,
    /// The MAC at which it is reached.
    pub mac: Mac,
}

impl Party {
    /// Whether it makes this claim: the same NIC, or the same MAC if one of the two is known only by that. A
    /// NIC that has changed its MAC while nobody looked is known by the MAC from its server.
    pub(super) fn makes(&self, claim: &Claim<'_>) -> bool {
        match (&self.nic, claim.nic) {
            (Some(nic), Some(other)) => nic == other,
            _ => self.parent == claim.parent && [Some(claim.mac), claim.given].contains(&Some(self.mac)),
        }
    }

    /// Takes in its present place.
    pub(super) fn refresh(&mut self, claim: &Claim<'_>) {
        if self.nic.as_ref() != claim.nic {
            self.nic = claim.nic.cloned();
        }
        (self.parent, self.mac) = (claim.parent, claim.mac);
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nic {
            Some(nic) => nic.fmt(f),
            None => self.mac.fmt(f),
        }
    }
}

/// A claim to an address.
#[derive(Clone, Copy, Debug)]
pub(in crate::reconcile) struct Claim<'a> {
    /// The NIC that makes it, if a server vouches for it.
    pub(in crate::reconcile) nic: Option<&'a NicKey>,
    /// The parent's ifindex.
    pub(in crate::reconcile) parent: LinkIndex,
    /// The MAC at which the claimant is reached.
    pub(in crate::reconcile) mac: Mac,
    /// The MAC that its server gave the NIC.
    pub(in crate::reconcile) given: Option<Mac>,
    /// It would be admitted if it were the only one.
    pub(in crate::reconcile) admitted: bool,
    /// It may be given the address. An unclaimed child claims nothing new.
    pub(in crate::reconcile) stands: bool,
    /// Its parent cannot have a shim.
    pub(in crate::reconcile) blocked: bool,
    /// The claimant has the address, and is not refused because of anything that it does itself.
    pub(in crate::reconcile) has: bool,
}

impl Claim<'_> {
    /// The address may be given to the claimant.
    pub(super) fn is_candidate(&self) -> bool {
        self.admitted && self.stands
    }

    /// Its claimant.
    pub(super) fn party(&self) -> Party {
        Party { nic: self.nic.cloned(), parent: self.parent, mac: self.mac }
    }
}

/// A special state of the claims to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contest {
    /// Those that claimed it beside its last holder wait.
    Waits {
        /// The last holder.
        had: Party,
    },
    /// Others than its holder have it as well, and have had it for longer than a move takes.
    Shared {
        /// The others.
        others: BTreeSet<Party>,
    },
}

/// The consequences for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::reconcile) struct Judgement {
    /// The claim that gets it.
    pub(in crate::reconcile) holder: Option<usize>,
    /// Another, who lost it, has a better right to it and may come back.
    pub(in crate::reconcile) second: bool,
    /// The special state, if there is one.
    pub(in crate::reconcile) contest: Option<Contest>,
}
