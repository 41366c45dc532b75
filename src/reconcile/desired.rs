//! What should exist, and every decision on the way there: plain data.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::admit::{Reason, Refusal, Verdict};
use super::claims::{Claims, Parties};
use super::ground::{Holding, HostFacts};
use super::join::Joins;
use super::shim::Obstacle;
use crate::config::Config;
use crate::model::snapshot::{ChildKey, Setting};
use crate::model::status::Problem;
use crate::model::{GuestKey, Inventory, Mac, NicKey, ShimRef, Snapshot};

/// What this process remembers beside the kernel's state. Losing it costs time, never correctness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Which child is which NIC.
    pub joins: Joins,
    /// MACs with which the kernel let no shim go up, because somebody that we cannot see has them.
    pub refused_macs: BTreeSet<Mac>,
    /// The children of which an address turned out to be another machine's. Of their further addresses the LAN is
    /// asked first.
    pub distrusted: BTreeSet<ChildKey>,
    /// What was held though no server vouches for it.
    pub unclaimed: BTreeSet<Holding>,
}

/// Everything that should exist, and every decision on the way there. `claims` and `holders` follow the addresses of
/// guests one by one ([`super::amend()`]); all else stands until everything is decided anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// By the parent's ifindex.
    pub shims: BTreeMap<u32, Shim>,
    /// The rules that must stand: for IPv4 and IPv6, the priority of each.
    pub rules: BTreeMap<bool, u32>,
    /// The decision on every macvlan NIC.
    pub decisions: BTreeMap<NicKey, Decision>,
    /// The guests that cannot be told by their MACs: their servers should tell their first processes.
    pub doubts: BTreeSet<GuestKey>,
    /// Who may claim addresses.
    pub parties: Parties,
    /// Who claims which.
    pub claims: Claims,
    /// Who holds which: the guests' addresses that should be routed, on whatever shim.
    pub holders: BTreeMap<IpAddr, Holder>,
    /// False while servers are still to be read: then no shim is surplus.
    pub settled: bool,
    /// What is wrong with the host or the configuration.
    pub problems: Vec<Problem>,
    /// The host's facts that all this stands on.
    pub facts: HostFacts,
}

/// A shim that should stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Shim {
    /// Its name, and its ifindex if it stands.
    pub shim: ShimRef,
    /// The parent's name.
    pub parent: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Why it should stand.
    pub why: String,
    /// Why it cannot, if it cannot.
    pub obstacle: Option<Obstacle>,
    /// Its sysctls.
    pub settings: Vec<(Setting, i64)>,
    /// Its own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The host's addresses that it answers for.
    pub proxies: BTreeSet<Ipv6Addr>,
    /// The configured ranges, with their preferred source.
    pub ranges: BTreeMap<IpNet, Option<IpAddr>>,
    /// The tables for IPv4 and IPv6 routes.
    pub tables: [u32; 2],
    /// The MACs of the guests that its filter lets pass; `None` where ranges of strangers lie behind it.
    pub macs: Option<BTreeSet<Mac>>,
    /// The IPv4 addresses that its filter lets guests ask for, with the configured ranges.
    pub answers: BTreeSet<Ipv4Net>,
}

/// Who holds an address that should be routed.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The child that has it.
    pub child: ChildKey,
    /// The child's parent, by ifindex.
    pub parent: u32,
    /// The MAC at which the child is reached: its own, but for a sibling of the NIC in another mode.
    pub mac: Mac,
    /// The preferred source.
    pub source: IpAddr,
    /// The NIC; `None` if no server vouches for it (`unclaimed`).
    pub nic: Option<NicKey>,
}

/// The decision on one NIC.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The guest does not run.
    Stopped,
    /// It is left out: a stable code and a sentence.
    Unselected(&'static str, String),
    /// We cannot serve it: a stable code and a sentence.
    Unsupported(&'static str, String),
    /// It is ours to serve, but the kernel does not show it.
    Unseen(String),
    /// It is served. [`Desired::verdicts`] has those on its addresses.
    Served {
        /// Where the kernel shows it.
        child: ChildKey,
        /// The parent's ifindex, by the kernel's word.
        parent: u32,
        /// Its MAC, by the kernel's word.
        mac: Mac,
    },
}

impl Decision {
    /// The parent's ifindex, if it is served.
    pub fn parent(&self) -> Option<u32> {
        match self {
            Decision::Served { parent, .. } => Some(*parent),
            _ => None,
        }
    }
}

impl Desired {
    /// That nothing of ours should exist.
    pub fn nothing(snapshot: &Snapshot) -> Desired {
        let facts =
            HostFacts::gather(&Config::default(), &Inventory::default(), snapshot, &Memory::default());
        Desired { settled: true, facts, ..Desired::default() }
    }

    /// A child takes part as far as an address is concerned: a server vouches for it, or it holds the address.
    pub fn takes_part(&self, snapshot: &Snapshot, key: &ChildKey, address: IpAddr) -> bool {
        self.parties.stand(&self.facts, snapshot, key, address).is_some()
    }

    /// The verdicts on the addresses of a NIC that is served, given its child: those of its kin too, what others claim
    /// being weighed. Of an address that several of them have, the verdict on the one that holds it.
    pub fn verdicts(&self, main: &ChildKey) -> impl Iterator<Item = (IpAddr, Cow<'_, Verdict>)> {
        let mut verdicts = BTreeMap::new();
        for child in self.parties.family(*main) {
            for (address, own) in self.claims.of(&child) {
                let holds = self.holders.get(&address).is_some_and(|holder| holder.child == child);
                if holds || !verdicts.contains_key(&address) {
                    verdicts.insert(address, self.weighed(&child, address, own));
                }
            }
        }
        verdicts.into_iter()
    }

    /// Why an address of a child that takes part is refused, if it is.
    pub fn refusal(&self, child: &ChildKey, address: IpAddr) -> Option<Reason> {
        match &*self.weighed(child, address, self.claims.verdict(child, address)?) {
            Verdict::Refused(refusal) => Some(refusal.reason),
            Verdict::Admitted { .. } => None,
        }
    }

    fn weighed<'a>(&'a self, child: &ChildKey, address: IpAddr, own: &'a Verdict) -> Cow<'a, Verdict> {
        match self.holders.get(&address) {
            Some(holder) if own.source().is_some() && holder.child != *child => {
                let by = holder.nic.as_ref().map_or_else(|| holder.mac.to_string(), ToString::to_string);
                Cow::Owned(Verdict::refused(Reason::Held, format!("{by} holds {address}")))
            }
            _ => Cow::Borrowed(own),
        }
    }

    /// The shim that an address should be routed through: if it has a holder, and a shim can stand there.
    pub fn shim_of(&self, address: IpAddr) -> Option<(&Shim, &Holder)> {
        let holder = self.holders.get(&address)?;
        let shim = self.shims.get(&holder.parent).filter(|shim| shim.obstacle.is_none())?;
        Some((shim, holder))
    }

    /// What is wrong, with the host, the configuration and the addresses of guests.
    pub fn all_problems(&self) -> BTreeSet<Problem> {
        let mut problems: BTreeSet<Problem> = self.problems.iter().cloned().collect();
        for child in self.parties.served.keys() {
            for (address, verdict) in self.claims.of(child) {
                if let Verdict::Refused(Refusal { reason, message, hint: Some(hint) }) = verdict {
                    problems.insert(Problem {
                        code: reason.code().to_owned(),
                        object: IpNet::from(address).to_string(),
                        message: message.clone(),
                        hint: hint.clone(),
                    });
                }
            }
        }
        problems
    }
}
