//! What should exist, and every decision on the way there: plain data.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::admit::{Others, Refusal, Verdict, held};
use super::claims::{Claims, Parties};
use super::ground::{Holding, HostFacts};
use super::join::{Homes, Joins};
use super::leftovers::Leftovers;
use super::shim::Obstacle;
use super::suspects::Suspect;
use super::tenure::{Contest, Tenure, WAIT};
use crate::config::Config;
use crate::model::snapshot::{ChildKey, Setting};
use crate::model::status::Problem;
use crate::model::{Code, Family, GuestKey, Inventory, LinkIndex, LinkRef, Mac, NicKey, PerFamily, Snapshot};

/// What this process remembers beside the kernel's state. Losing it costs time, never correctness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Which child is which NIC.
    pub joins: Joins,
    /// Which namespace is which guest's.
    pub homes: Homes,
    /// MACs with which the kernel let no shim go up, because somebody that we cannot see has them.
    pub refused_macs: BTreeSet<Mac>,
    /// Those of which an address turned out to be another machine's. Their further addresses are checked against the LAN
    /// first.
    pub distrusted: BTreeSet<Suspect>,
    /// What was held though no server vouches for it.
    pub unclaimed: BTreeSet<Holding>,
    /// Who had which address, and who claimed it beside them.
    pub tenure: Tenure,
    /// The addresses of which the LAN had to be asked and could not be, each with the reason.
    pub unasked: BTreeMap<IpAddr, String>,
}

/// Everything that should exist, and every decision on the way there. `claims` and `holders` follow the addresses of
/// guests one by one ([`super::amend()`]); all else stands until everything is decided anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// By the parent's ifindex.
    pub shims: BTreeMap<LinkIndex, DesiredShim>,
    /// The rules that must stand: the priority of each.
    pub rules: BTreeMap<Family, u32>,
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
    /// The addresses that more than one claims or has claimed, where that makes a difference.
    pub contests: BTreeMap<IpAddr, Contest>,
    /// The held addresses that another, who lost them, may come back to.
    pub seconds: BTreeSet<IpAddr>,
    /// The routes of NICs that have given up an address, and which of them must go at once.
    pub leftovers: Leftovers,
    /// False while servers are still to be read: then no shim is surplus.
    pub settled: bool,
    /// What is wrong with the host or the configuration.
    pub problems: Vec<Problem>,
    /// The host's facts that all this stands on.
    pub facts: HostFacts,
}

/// A shim that should stand.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredShim {
    /// Its name, and its ifindex if it stands.
    pub shim: LinkRef,
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
    /// Its own addresses, each with the length of its prefix.
    pub addresses: BTreeSet<IpNet>,
    /// The host's addresses that it answers for.
    pub proxies: BTreeSet<Ipv6Addr>,
    /// The configured ranges, with their preferred source.
    pub ranges: BTreeMap<IpNet, Option<IpAddr>>,
    /// The tables that its routes go to.
    pub tables: PerFamily<u32>,
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
    pub parent: LinkIndex,
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
    /// It is left out: a code and a sentence.
    Unselected(Code, String),
    /// We cannot serve it: a code and a sentence.
    Unsupported(Code, String),
    /// It is ours to serve, but the kernel does not show it.
    Unseen(String),
    /// It is served. [`Desired::verdicts`] has those on its addresses.
    Served {
        /// Where the kernel shows it.
        child: ChildKey,
        /// The parent's ifindex, by the kernel's word.
        parent: LinkIndex,
        /// Its MAC, by the kernel's word.
        mac: Mac,
    },
}

impl Decision {
    /// The parent's ifindex, if it is served.
    pub fn parent(&self) -> Option<LinkIndex> {
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
    pub fn refusal(&self, child: &ChildKey, address: IpAddr) -> Option<Cow<'_, Refusal>> {
        match self.weighed(child, address, self.claims.verdict(child, address)?) {
            Cow::Borrowed(Verdict::Refused(refusal)) => Some(Cow::Borrowed(refusal)),
            Cow::Owned(Verdict::Refused(refusal)) => Some(Cow::Owned(refusal)),
            _ => None,
        }
    }

    /// Another machine is known to have an address that a child claims.
    pub(super) fn is_disputed(&self, child: &ChildKey, address: IpAddr) -> bool {
        self.refusal(child, address).is_some_and(|refusal| refusal.code == Code::HeldOnLan)
    }

    fn weighed<'a>(&'a self, child: &ChildKey, address: IpAddr, own: &'a Verdict) -> Cow<'a, Verdict> {
        let others = match (self.holders.get(&address), self.contests.get(&address)) {
            _ if own.source().is_none() => return Cow::Borrowed(own),
            (Some(holder), _) if holder.child != *child => Others::Hold { holder: holder.to_string() },
            (None, Some(Contest::Waits { had })) => {
                Others::MayComeBack { had: had.to_string(), wait: WAIT.as_secs() }
            }
            _ => return Cow::Borrowed(own),
        };
        match held(&others, address) {
            Some(refusal) => Cow::Owned(Verdict::Refused(refusal)),
            None => Cow::Borrowed(own),
        }
    }

    /// Others than the holder of an address have it too.
    fn conflicts(&self) -> impl Iterator<Item = Problem> {
        self.contests.iter().filter_map(|(address, contest)| {
            let Contest::Shared { others } = contest else { return None };
            let holder = self.holders.get(address)?;
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            let (named, more) = others.split_at(others.len().min(NAMED));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let named = named.join(", ");
            Some(Problem::new(
                Code::AddressConflict,
                address.to_string(),
                format!("{holder} and {named}{more} both have {address}; the host reaches {holder} at it"),
                format!(
                    "give {named}{more} another address, or take it from {holder}: the next one gets it {} s later",
                    WAIT.as_secs()
                ),
            ))
        })
    }

    /// The shim that an address should be routed through: if it has a holder, and a shim can stand there.
    pub fn shim_of(&self, address: IpAddr) -> Option<(&DesiredShim, &Holder)> {
        let holder = self.holders.get(&address)?;
        let shim = self.shims.get(&holder.parent).filter(|shim| shim.obstacle.is_none())?;
        Some((shim, holder))
    }

    /// What is wrong, with the host, the configuration and the addresses of guests.
    pub fn all_problems(&self) -> BTreeSet<Problem> {
        let mut problems: BTreeSet<Problem> = self.problems.iter().cloned().collect();
        for child in self.parties.served.keys() {
            for (address, verdict) in self.claims.of(child) {
                if let Verdict::Refused(Refusal { code, message, hint: Some(hint), .. }) = verdict {
                    problems.insert(Problem::new(
                        *code,
                        IpNet::from(address).to_string(),
                        message.clone(),
                        hint.clone(),
                    ));
                }
            }
        }
        problems.extend(self.conflicts());
        problems
    }
}

/// Maximum number of NICs that are named as having an address that is another's.
const NAMED: usize = 3;

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nic {
            Some(nic) => nic.fmt(f),
            None => self.mac.fmt(f),
        }
    }
}
