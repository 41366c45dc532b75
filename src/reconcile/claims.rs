//! Who claims which address, and who holds it.
//!
//! A child claims the addresses that it has. The verdict on each claim stands on that child and its kin alone; where
//! several claims to an address are admitted, one child holds it. So one address is settled without a look at others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::admit::{Case, Claimant, Others, Verdict, admit, is_answered};
use super::ground::{Ground, Holding, HostFacts};
use super::kin::reached_at;
use super::suspects::Suspect;
use crate::model::snapshot::{Child, ChildKey};
use crate::model::{Code, LinkIndex, Mac, NicKey, Snapshot};

/// The first of all addresses in their order, and the last.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LAST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parties {
    /// What is served: the children of NICs, and their kin.
    pub served: BTreeMap<ChildKey, Seat>,
    /// The children that no server vouches for. They may keep what they hold, and claim nothing new.
    pub orphans: BTreeSet<ChildKey>,
    /// The MACs that the servers gave to the NICs that are served.
    pub given: BTreeMap<NicKey, Mac>,
    /// The parents on which no shim can stand, by ifindex: nobody can hold anything there.
    pub blocked: BTreeSet<LinkIndex>,
}

/// Where a child that is served belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// The NIC that its addresses count as.
    pub nic: NicKey,
    /// The child that is this NIC: itself, or the one that it is kin to.
    pub main: ChildKey,
    /// The MAC at which it is reached.
    pub mac: Mac,
}

impl Parties {
    /// The child that stands for this one and its kin, itself where it has none.
    pub fn main(&self, child: ChildKey) -> ChildKey {
        self.served.get(&child).map_or(child, |seat| seat.main)
    }

    /// The children that this one stands for: those of one NIC.
    pub fn family(&self, main: ChildKey) -> impl Iterator<Item = ChildKey> {
        let kin = self
            .served
            .range(ChildKey::all_in(main.netns))
            .filter(move |(key, seat)| seat.main == main && **key != main);
        std::iter::once(main).chain(kin.map(|(key, _)| *key))
    }

    /// Who claims the addresses of a child. A MAC that a server gave to a NIC excuses that NIC and its kin, nobody else. A virtual
    /// router's MAC is whose it is just now; and what no server vouches for claims nothing new.
    fn claimant(&self, ground: &Ground<'_>, key: ChildKey, child: &Child) -> Claimant {
        let reached_at = reached_at(ground.snapshot, key, child);
        let given = self.served.get(&key).and_then(|seat| self.given.get(&seat.nic));
        let rightly =
            |mac: &Mac| given == Some(mac) || mac.is_virtual_routers() || self.orphans.contains(&key);
        let known_as = reached_at.iter().chain([&child.mac]).copied().filter(rightly).collect();
        Claimant {
            known_as,
            reached_at,
            distrusted: ground.facts.distrusted.contains(&Suspect::of(self, key)),
        }
    }

    /// If a child takes part as far as an address is concerned: the MAC at which it is reached, and its NIC. A server
    /// vouches for it, or it holds the address.
    pub fn stand(
        &self,
        facts: &HostFacts,
        snapshot: &Snapshot,
        key: &ChildKey,
        address: IpAddr,
    ) -> Option<(Mac, Option<&NicKey>)> {
        if let Some(seat) = self.served.get(key) {
            return Some((seat.mac, Some(&seat.nic)));
        }
        let child = snapshot.children.get(key).filter(|_| self.orphans.contains(key))?;
        let mut macs = reached_at(snapshot, *key, child).into_iter();
        macs.find(|mac| facts.holds(snapshot, child.parent, *mac, address)).map(|mac| (mac, None))
    }

    /// Of these holdings those that still count: of an orphan that has the address, or had it a breath ago.
    pub(super) fn still_unclaimed(
        &self,
        facts: &HostFacts,
        snapshot: &Snapshot,
        holdings: &BTreeSet<Holding>,
    ) -> BTreeSet<Holding> {
        let counts = |&&Holding { parent, mac, address }: &&Holding| {
            let mut orphans = facts.children_at(mac).filter(|key| self.orphans.contains(key));
            orphans.any(|key| {
                snapshot.children.get(key).is_some_and(|child| {
                    let has = child.addresses.keys().any(|its| its.addr() == address);
                    child.parent == parent && (has || facts.is_named(snapshot, parent, mac, address))
                })
            })
        };
        holdings.iter().filter(counts).copied().collect()
    }
}

/// The claims of all children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    verdicts: BTreeMap<(ChildKey, IpAddr), Verdict>,
    /// The same, by address.
    claimants: BTreeSet<(IpAddr, ChildKey)>,
}

impl Claims {
    /// The verdicts on a child's addresses by the rules that concern it and its kin alone.
    pub fn of(&self, child: &ChildKey) -> impl Iterator<Item = (IpAddr, &Verdict)> {
        let all = (*child, FIRST)..=(*child, LAST);
        self.verdicts.range(all).map(|((_, address), verdict)| (*address, verdict))
    }

    /// The verdict on one of them.
    pub fn verdict(&self, child: &ChildKey, address: IpAddr) -> Option<&Verdict> {
        self.verdicts.get(&(*child, address))
    }

    /// The children that claim an address.
    pub fn claimants(&self, address: IpAddr) -> impl Iterator<Item = &ChildKey> {
        let all = (address, ChildKey::FIRST)..=(address, ChildKey::LAST);
        self.claimants.range(all).map(|(_, child)| child)
    }

    /// The children that claim an address of a range.
    pub(super) fn claimants_in(&self, range: IpNet) -> impl Iterator<Item = &ChildKey> {
        let all = (range.network(), ChildKey::FIRST)..=(range.broadcast(), ChildKey::LAST);
        self.claimants.range(all).map(|(_, child)| child)
    }

    /// The claimed addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let mut last = None;
        self.claimants
            .iter()
            .map(|(address, _)| *address)
            .filter(move |address| last.replace(*address) != Some(*address))
    }

    /// Weighs the claims of a child and its kin as they are now. Returns the addresses on which a verdict is another
    /// than before.
    pub(super) fn weigh(&mut self, ground: &Ground<'_>, parties: &Parties, main: ChildKey) -> Vec<IpAddr> {
        let mut now = verdicts(ground, parties, main);
        let family = parties.family(main);
        family.flat_map(|key| self.enter(key, now.remove(&key).unwrap_or_default())).collect()
    }

    /// Takes the verdicts on a child's addresses in the place of the former ones.
    fn enter(&mut self, key: ChildKey, now: BTreeMap<IpAddr, Verdict>) -> Vec<IpAddr> {
        let mut changed: Vec<IpAddr> =
            self.of(&key).map(|(address, _)| address).filter(|address| !now.contains_key(address)).collect();
        for address in &changed {
            self.verdicts.remove(&(key, *address));
            self.claimants.remove(&(*address, key));
        }
        for (address, verdict) in now {
            if self.verdict(&key, address) != Some(&verdict) {
                changed.push(address);
                self.claimants.insert((address, key));
                self.verdicts.insert((key, address), verdict);
            }
        }
        changed
    }

    /// An address of a child or its kin is another machine's, which answers for it.
    pub(super) fn is_caught(&self, ground: &Ground<'_>, parties: &Parties, main: ChildKey) -> bool {
        parties.family(main).any(|key| {
            let Some(child) = ground.snapshot.children.get(&key) else { return false };
            self.of(&key).any(|(address, verdict)| {
                let held = verdict.code() == Some(Code::HeldOnLan);
                held && is_answered(ground, child.parent, address)
            })
        })
    }
}

/// The verdicts on the addresses of a child and its kin. All together have no more than one NIC may have, those included
/// for which the LAN is being asked.
fn verdicts(
    ground: &Ground<'_>,
    parties: &Parties,
    main: ChildKey,
) -> BTreeMap<ChildKey, BTreeMap<IpAddr, Verdict>> {
    let mut verdicts: BTreeMap<ChildKey, BTreeMap<IpAddr, Verdict>> = BTreeMap::new();
    let claims = parties.family(main).filter_map(|key| {
        let child = ground.snapshot.children.get(&key)?;
        let parent = ground.snapshot.links.get(&child.parent)?;
        Some((key, child, parent, parties.claimant(ground, key, child)))
    });
    let claims: Vec<_> = claims.collect();
    let mut granted = Vec::new();
    for (key, child, parent, claimant) in &claims {
        for (address, state) in &child.addresses {
            let case = Case::new(ground, parent, child, claimant, *address, *state);
            let verdict = admit(&case);
            let waits = verdict.code() == Some(Code::Asking);
            if waits || verdict.source().is_some() {
                granted
                    .push((Precedence { waits, is_new: !case.is_held(), ip: case.address, key: *key }, case));
            }
            verdicts.entry(*key).or_default().insert(address.addr(), verdict);
        }
    }
    let max = ground.config.policy.max_addresses;
    if granted.len() > max {
        granted.sort_by_key(|(precedence, _)| *precedence);
        for (Precedence { ip, key, .. }, mut case) in granted.into_iter().skip(max) {
            case.others = Others::FillTheNic;
            verdicts.entry(key).or_default().insert(ip, admit(&case));
        }
    }
    verdicts
}

/// Which addresses of a NIC go first where it has more than it may have: those with a route, then those that it held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    /// The LAN is asked about it first.
    waits: bool,
    /// Our neighbour entry does not name the claimant.
    is_new: bool,
    ip: IpAddr,
    key: ChildKey,
}
