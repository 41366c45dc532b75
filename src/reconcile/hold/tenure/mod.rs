//! The right to an address that several claim. The time is passed in.
//!
//! * The first to have an address is its tenant. A tenant that lost it may come back: it then has it again at once, even
//!   where another has it by then. Whoever held it in between ranks behind.
//! * A claim that stood beside the tenant's for longer than a moment is a squatter's. After the tenant's loss it waits.
//! * A claim made at the loss, or a moment before it, is a takeover (VRRP) and waits for nothing here.
//!
//! All of this is worked out again whenever the claims to an address change, and when a time is up ([`Tenure::due`]).
//! What a restart of the daemon forgets is taken from our neighbour entries: whoever they name is a tenant of long
//! standing, and every other claim that stands at the start is a squatter's.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::record::Record;
use crate::model::{Changes, LinkIndex, Mac, NicKey};

/// How long an address stays free after its loss for those that claimed it beside its tenant.
pub const WAIT: Duration = Duration::from_secs(60);
/// The longest time after its loss in which a tenant gets an address back from others.
pub const RETURN: Duration = Duration::from_secs(600);
/// How long two may have an address in all while it moves from one to the other. A VRRP router that takes over from a
/// lesser one adds the address some milliseconds before the other lets go.
pub const MOMENT: Duration = Duration::from_secs(1);
/// A tenant may come back for this many times as long as it had the address, so that a guest that runs through the free
/// addresses of a network gets no right to them.
const RETURN_FACTOR: u32 = 10;
/// Maximum number of addresses that one party may come back to.
const MOST_RETURNS: usize = 64;
/// Number of addresses that nobody has from which on they are searched for rights that have ended.
const CROWD: usize = 512;

/// One that claims addresses: a NIC that a server vouches for, or else a MAC on a parent.
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
    /// It is the one that makes this claim: the same NIC, or the same MAC where one of both is known by that alone. A NIC
    /// that has changed its MAC while nobody looked is known by the one that its server gave it.
    fn makes(&self, claim: &Claim<'_>) -> bool {
        match (&self.nic, claim.nic) {
            (Some(nic), Some(other)) => nic == other,
            _ => self.parent == claim.parent && [Some(claim.mac), claim.given].contains(&Some(self.mac)),
        }
    }

    /// Takes in where it is now.
    fn refresh(&mut self, claim: &Claim<'_>) {
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
pub(super) struct Claim<'a> {
    /// The NIC that makes it, if a server vouches for it.
    pub(super) nic: Option<&'a NicKey>,
    /// The parent's ifindex.
    pub(super) parent: LinkIndex,
    /// The MAC at which the claimant is reached.
    pub(super) mac: Mac,
    /// The MAC that its server gave the NIC.
    pub(super) given: Option<Mac>,
    /// It would be admitted if it were the only one.
    pub(super) admitted: bool,
    /// It may be given the address: what no server vouches for claims nothing new.
    pub(super) stands: bool,
    /// No shim can stand on its parent.
    pub(super) blocked: bool,
    /// The claimant has the address, and nothing that is its own doing keeps it from being admitted.
    pub(super) has: bool,
}

impl Claim<'_> {
    /// The address may be given to the claimant.
    fn is_candidate(&self) -> bool {
        self.admitted && self.stands
    }

    /// Who makes it.
    fn party(&self) -> Party {
        Party { nic: self.nic.cloned(), parent: self.parent, mac: self.mac }
    }
}

/// What is remarkable about the claims to an address.
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

/// What follows for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Which of the claims gets it.
    pub(super) holder: Option<usize>,
    /// Another, who lost it, has a better right to it and may come back.
    pub(super) second: bool,
    /// What is remarkable about it.
    pub(super) contest: Option<Contest>,
}

/// What is remembered of who had which address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenure {
    records: BTreeMap<IpAddr, Record>,
    /// When something is due though nothing happens.
    agenda: BTreeSet<(Instant, IpAddr)>,
    /// A first decision was made.
    begun: bool,
    /// The next number of records that is a crowd.
    crowd: usize,
}

impl Tenure {
    /// This process has decided on nothing yet.
    pub(super) fn is_new(&self) -> bool {
        !self.begun
    }

    /// The first decision was made.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// An earlier process gave an address to this party.
    pub(super) fn adopt(&mut self, address: IpAddr, party: Party) {
        self.records.entry(address).or_default().adopt(party);
    }

    /// The addresses of which something is remembered.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records.keys().copied()
    }

    /// When an address was lost last.
    pub(super) fn lost(&self, address: IpAddr) -> Option<Instant> {
        self.records.get(&address)?.lost()
    }

    /// A NIC that no server knows any more is known by its MAC alone: its guest may have been renamed.
    pub(super) fn forget_names(&mut self, is_known: impl Fn(&NicKey) -> bool) {
        for party in self.records.values_mut().flat_map(Record::parties_mut) {
            if party.nic.as_ref().is_some_and(|nic| !is_known(nic)) {
                party.nic = None;
            }
        }
    }

    /// Decides who gets an address, given all claims to it, those first that come first where nothing is remembered.
    pub(super) fn judge(&mut self, address: IpAddr, claims: &[Claim<'_>], now: Instant) -> Judgement {
        if claims.is_empty() && !self.records.contains_key(&address) {
            return Judgement::default();
        }
        let (at_start, record) = (self.is_new(), self.records.entry(address).or_default());
        if let Some(due) = record.due.take() {
            self.agenda.remove(&(due, address));
        }
        let judgement = record.judge(claims, at_start, now);
        record.due = record.next(now);
        match record.due {
            Some(due) => drop(self.agenda.insert((due, address))),
            None if record.is_empty() => drop(self.records.remove(&address)),
            None => {}
        }
        judgement
    }

    /// When something is due though nothing happens.
    pub fn wake(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// What has to be decided again because a time is up.
    pub fn due(&self, now: Instant) -> Changes {
        let due = self.agenda.iter().take_while(|(due, _)| *due <= now);
        Changes { addresses: due.map(|(_, address)| *address).collect(), ..Changes::default() }
    }

    /// How many addresses it remembers.
    pub fn remembered(&self) -> usize {
        self.records.len()
    }

    /// Forgets rights that have ended, and of each party's the oldest that are too many. To be called after every
    /// decision; most of the time it does nothing.
    pub(in crate::reconcile) fn tidy(&mut self, now: Instant) {
        if self.records.len() <= self.crowd.max(CROWD) {
            return;
        }
        let mut absent: BTreeMap<Party, Vec<(Instant, IpAddr)>> = BTreeMap::new();
        for (address, record) in &mut self.records {
            record.pass(now);
            for (party, lost) in record.absent() {
                absent.entry(party.clone()).or_default().push((lost, *address));
            }
        }
        for (party, mut lost) in absent {
            lost.sort();
            let surplus = lost.len().saturating_sub(MOST_RETURNS);
            for (_, address) in &lost[..surplus] {
                if let Some(record) = self.records.get_mut(address) {
                    record.forget(&party);
                }
            }
        }
        self.records.retain(|_, record| record.due.is_some() || !record.is_empty());
        self.crowd = self.records.len() * 2;
    }
}
