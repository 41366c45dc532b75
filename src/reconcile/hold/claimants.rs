//! The children that may claim addresses: those of NICs that are served, their siblings, and unclaimed ones,
//! which may keep the addresses that they hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::inventory::{Inventory, Mode, Nic};
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::{LinkIndex, Mac, NicKey, Snapshot};
use crate::reconcile::admit::Claimant;
use crate::reconcile::facts::obstacle::obstacle;
use crate::reconcile::facts::siblings::reached_at;
use crate::reconcile::facts::{Facts, HostFacts, Suspect, UnclaimedAddress};
use crate::reconcile::join::{Joined, Joins};
use crate::reconcile::select::Decision;

/// The children that take part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimants {
    /// The children that are served: those of NICs, and their siblings.
    pub served: BTreeMap<ChildKey, ServedAs>,
    /// The unclaimed children. They may keep the addresses that they hold, and claim nothing new.
    pub unclaimed: BTreeSet<ChildKey>,
    /// The MACs that the servers gave to the NICs that are served.
    pub given: BTreeMap<NicKey, Mac>,
    /// The parents that cannot have a shim, by ifindex. Nobody can hold anything there.
    pub blocked: BTreeSet<LinkIndex>,
}

/// The place of a child that is served.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedAs {
    /// The NIC that its addresses count as.
    pub nic: NicKey,
    /// The child that is this NIC: itself, or the one that it is a sibling of.
    pub nic_child: ChildKey,
    /// The MAC at which it is reached.
    pub mac: Mac,
}

impl Claimants {
    /// The child that stands for this one and its siblings; itself if it has none.
    pub fn nic_child(&self, child: ChildKey) -> ChildKey {
        self.served.get(&child).map_or(child, |served| served.nic_child)
    }

    /// The children that this one stands for: those of one NIC.
    pub fn with_siblings(&self, nic_child: ChildKey) -> impl Iterator<Item = ChildKey> {
        let siblings = self
            .served
            .range(ChildKey::all_in(nic_child.netns))
            .filter(move |(key, served)| served.nic_child == nic_child && **key != nic_child);
        std::iter::once(nic_child).chain(siblings.map(|(key, _)| *key))
    }

    /// The claimant of a child's addresses. A MAC that a server gave to a NIC excuses that NIC and its
    /// siblings, and nobody else. A VRRP MAC belongs to its present user. An unclaimed child keeps its
    /// addresses but gains none.
    pub(super) fn claimant(&self, facts: &Facts<'_>, key: ChildKey, child: &Child) -> Claimant {
        let reached_at = reached_at(facts.snapshot, key, child);
        let given = self.served.get(&key).and_then(|served| self.given.get(&served.nic));
        let rightly =
            |mac: &Mac| given == Some(mac) || mac.is_virtual_routers() || self.unclaimed.contains(&key);
        let known_as = reached_at.iter().chain([&child.mac]).copied().filter(rightly).collect();
        Claimant { known_as, reached_at, distrusted: facts.trust.distrusted.contains(&self.suspect(key)) }
    }

    /// The MAC at which a child is reached, and its NIC, if the child takes part as far as an address is
    /// concerned: a server vouches for it, or it `holds` the address.
    pub fn claim_of(
        &self,
        snapshot: &Snapshot,
        key: &ChildKey,
        holds: impl Fn(LinkIndex, Mac) -> bool,
    ) -> Option<(Mac, Option<&NicKey>)> {
        if let Some(served) = self.served.get(key) {
            return Some((served.mac, Some(&served.nic)));
        }
        let child = snapshot.children.get(key).filter(|_| self.unclaimed.contains(key))?;
        let mut macs = reached_at(snapshot, *key, child).into_iter();
        macs.find(|mac| holds(child.parent, *mac)).map(|mac| (mac, None))
    }

    /// The suspect that a child would be.
    pub(in crate::reconcile) fn suspect(&self, child: ChildKey) -> Suspect {
        match self.served.get(&child) {
            Some(served) => Suspect::Guest(served.nic.guest.clone()),
            None => Suspect::Child(child),
        }
    }

    /// Those of the distrusted that still exist, each in its present form.
    pub(in crate::reconcile) fn still_distrusted(
        &self,
        distrusted: &BTreeSet<Suspect>,
        inventory: &Inventory,
        snapshot: &Snapshot,
    ) -> BTreeSet<Suspect> {
        let known = distrusted.iter().filter(|suspect| suspect.exists(inventory, snapshot));
        let now = known.map(|suspect| match suspect {
            Suspect::Child(child) => self.suspect(*child),
            guest @ Suspect::Guest(_) => guest.clone(),
        });
        now.collect()
    }

    /// Of these addresses those that still count: the ones of unclaimed children that have them, or had them
    /// a breath ago.
    pub(in crate::reconcile) fn still_unclaimed(
        &self,
        host: &HostFacts,
        snapshot: &Snapshot,
        addresses: &BTreeSet<UnclaimedAddress>,
    ) -> BTreeSet<UnclaimedAddress> {
        let counts = |&&UnclaimedAddress { parent, mac, address }: &&UnclaimedAddress| {
            let mut unclaimed = host.children_at(mac).filter(|key| self.unclaimed.contains(key));
            unclaimed.any(|key| {
                snapshot.children.get(key).is_some_and(|child| {
                    let has = child.addresses.keys().any(|its| its.addr() == address);
                    child.parent == parent && (has || host.is_named(snapshot, parent, mac, address))
                })
            })
        };
        addresses.iter().filter(counts).copied().collect()
    }
}

/// Finds them, given the decision on each NIC.
pub(in crate::reconcile) fn claimants(
    facts: &Facts<'_>,
    inventory: &Inventory,
    joins: &Joins,
    decisions: &BTreeMap<NicKey, Decision>,
) -> Claimants {
    let snapshot = facts.snapshot;
    let mut claimants = Claimants::default();
    for (key, Joined { nic, .. }) in joins.children() {
        if let (Some(Decision::Served { child: nic_child, mac, .. }), Some(child)) =
            (decisions.get(nic), snapshot.children.get(key))
        {
            let mac = if child.mode == Mode::Bridge { child.mac } else { *mac };
            claimants.served.insert(*key, ServedAs { nic: nic.clone(), nic_child: *nic_child, mac });
        }
    }
    let nics = inventory.guests().flat_map(|(key, guest)| {
        let mac = move |nic: &Nic| Some((NicKey { guest: key.clone(), nic: nic.name.clone() }, nic.mac?));
        guest.nics.told().iter().filter_map(mac)
    });
    let nics: BTreeMap<NicKey, Mac> = nics.collect();
    let given: BTreeSet<Mac> = nics.values().copied().collect();
    let is_served = |nic: &NicKey| decisions.get(nic).is_some_and(|decision| decision.parent().is_some());
    claimants.given = nics.into_iter().filter(|(nic, _)| is_served(nic)).collect();
    let known = |key: &ChildKey, child: &Child| given.contains(&child.mac) || joins.joined(key).is_some();
    // If one child is a guest's, so are all in its namespace on that parent.
    let place =
        |key: &ChildKey, child: &Child| (key.netns != Netns::Host).then_some((key.netns, child.parent));
    let spoken_for = snapshot.children.iter().filter(|(key, child)| known(key, child));
    let spoken_for: BTreeSet<_> = spoken_for.filter_map(|(key, child)| place(key, child)).collect();
    let unclaimed = snapshot.children.iter().filter(|(key, child)| {
        let claimed = known(key, child) || place(key, child).is_some_and(|it| spoken_for.contains(&it));
        !child.tap && !claimed && !reached_at(snapshot, **key, child).is_empty()
    });
    let unclaimed = unclaimed.map(|(key, _)| *key).collect();
    claimants.unclaimed = unclaimed;
    let parents: BTreeSet<LinkIndex> = decisions.values().filter_map(Decision::parent).collect();
    let blocked = |parent: &LinkIndex| {
        let link = facts.snapshot.links.get(parent);
        link.is_none_or(|link| obstacle(facts, link).is_some())
    };
    claimants.blocked = parents.iter().copied().filter(blocked).collect();
    claimants
}
