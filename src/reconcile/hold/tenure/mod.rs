//! The right to an address that several claim. The time is passed in.
//!
//! * The first to have an address is its tenant. A tenant that lost it may come back, and then has it again
//!   at once, even if another has it by then. Everybody who held it in between ranks behind.
//! * A claim that stood beside the tenant's for longer than a moment is a squatter's. After the tenant's loss
//!   it waits.
//! * A claim that is made at the loss, or a moment before it, is a takeover (VRRP) and does not wait here.
//!
//! All of this is worked out again whenever the claims to an address change, and when a time is up
//! ([`Tenure::due`]). After a restart of the daemon, our neighbour entries name the former holders, and each
//! of them is a tenant of long standing. Every other claim that exists at the start is a squatter's.

mod claim;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

pub(super) use self::claim::{Claim, Judgement};
pub use self::claim::{Contest, MOMENT, Party, RETURN, WAIT};
use self::record::Record;
use crate::model::{Changes, NicKey};

/// Maximum number of addresses that one party may come back to.
const MOST_RETURNS: usize = 64;
/// Number of addresses without an owner from which on they are searched for rights that have ended.
const CROWD: usize = 512;

/// The memory of all former holders and claimants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenure {
    records: BTreeMap<IpAddr, Record>,
    /// When something is due although nothing happens.
    agenda: BTreeSet<(Instant, IpAddr)>,
    /// A first decision was made.
    begun: bool,
    /// The number of records from which on the next search is due.
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

    /// A NIC that no server knows any more is known only by its MAC, because its guest may have been renamed.
    pub(super) fn forget_names(&mut self, is_known: impl Fn(&NicKey) -> bool) {
        for party in self.records.values_mut().flat_map(Record::parties_mut) {
            if party.nic.as_ref().is_some_and(|nic| !is_known(nic)) {
                party.nic = None;
            }
        }
    }

    /// Decides who gets an address, given all claims to it in the order that counts if nothing is remembered.
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

    /// When something is due although nothing happens.
    pub fn wake(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// The addresses that have to be decided again because a time is up.
    pub fn due(&self, now: Instant) -> Changes {
        let due = self.agenda.iter().take_while(|(due, _)| *due <= now);
        Changes { addresses: due.map(|(_, address)| *address).collect(), ..Changes::default() }
    }

    /// The number of addresses that it remembers.
    pub fn remembered(&self) -> usize {
        self.records.len()
    }

    /// Forgets rights that have ended, and for each party the oldest beyond its limit. To be called after
    /// every decision. Most of the time it does nothing.
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
