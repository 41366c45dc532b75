//! The evidence that a child is a NIC, and the evidence against it.

use std::collections::{BTreeMap, BTreeSet};

use super::homes::Homes;
use super::joins::{By, Joins};
use super::nics::{Running, RunningNic};
use crate::model::Mac;
use crate::model::inventory::{Guest, GuestKind, Mode};
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::reconcile::facts::Facts;

/// The evidence for a child as a NIC. The least is the best: of equal reasons the one with less against it,
/// then that of the first NIC and child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Evidence {
    pub(super) by: By,
    /// The gravest first.
    against: [bool; 3],
    /// The place of the NIC among all.
    pub(super) nic: usize,
    pub(super) child: ChildKey,
}

/// Everything that evidence is drawn from.
pub(super) struct Clues<'a> {
    facts: &'a Facts<'a>,
    before: &'a Joins,
    homes: &'a Homes,
    running: &'a Running<'a>,
    /// The NICs that may have a child for one reason or another, by their places: by MAC, by an earlier join,
    /// and by home.
    with_mac: BTreeMap<Mac, Vec<usize>>,
    joined_before: BTreeMap<ChildKey, usize>,
    at_home: BTreeMap<Netns, Vec<usize>>,
}

impl<'a> Clues<'a> {
    pub(super) fn gather(
        facts: &'a Facts<'a>,
        running: &'a Running<'a>,
        before: &'a Joins,
        homes: &'a Homes,
    ) -> Clues<'a> {
        let mut clues = Clues {
            facts,
            before,
            homes,
            running,
            with_mac: BTreeMap::new(),
            joined_before: BTreeMap::new(),
            at_home: BTreeMap::new(),
        };
        for (place, nic) in running.nics.iter().enumerate() {
            let RunningNic { key, home, .. } = nic;
            if let Some(mac) = nic.mac() {
                clues.with_mac.entry(mac).or_default().push(place);
            }
            if let Some(child) = before.child(key) {
                clues.joined_before.insert(*child, place);
            }
            if let Some(home) = home {
                clues.at_home.entry(*home).or_default().push(place);
            }
        }
        clues
    }

    /// The evidence for each NIC that a child may be.
    pub(super) fn of(&self, child: &ChildKey, seen: &Child) -> impl Iterator<Item = Evidence> {
        let with_mac = self.with_mac.get(&seen.mac).into_iter().flatten();
        let at_home = self.at_home.get(&child.netns).into_iter().flatten();
        let nics: BTreeSet<usize> =
            with_mac.chain(self.joined_before.get(child)).chain(at_home).copied().collect();
        nics.into_iter().filter_map(move |place| {
            let (by, against) = self.judge(&self.running.nics[place], child, seen)?;
            Some(Evidence { by, against, nic: place, child: *child })
        })
    }

    /// Whether a child may be a NIC: the reason, and the evidence against it.
    fn judge(&self, nic: &RunningNic<'_>, child: &ChildKey, seen: &Child) -> Option<(By, [bool; 3])> {
        let fits = may_be_of(nic.guest, child, seen);
        let at_home = nic.home == Some(child.netns);
        let Some(told) = nic.told else {
            // This comes last: a child in the namespace of a guest whose NICs are listed is that guest's.
            let is_it = fits && at_home && seen.mode == Mode::Bridge && seen.name == nic.key.nic;
            return is_it.then_some((By::Home, [true; 3]));
        };
        let on_parent = nic.parent == Some(seen.parent);
        let was_it = self.before.child(&nic.key) == Some(child);
        let has_mac = told.mac == Some(seen.mac) && (at_home || was_it || !self.is_anothers(nic, child));
        match () {
            // Root in a guest can make a link with any MAC, but it goes up only if nobody else has that MAC.
            () if fits && has_mac && on_parent => Some((By::ParentAndMac, [!at_home, !seen.up, !was_it])),
            () if was_it => Some((By::Remembered, [false; 3])),
            () if fits && has_mac && self.is_only(nic, seen.mac) => Some((By::Mac, [false; 3])),
            // A guest may have siblings of its NIC.
            () if fits && at_home && on_parent => {
                Some((By::Home, [seen.name != told.link, seen.mode != told.mode, false]))
            }
            () => None,
        }
    }

    /// Root in a guest can give any MAC to the links in its namespace, even that of a guest that is away just
    /// now. So a child in another guest's namespace is not joined by its MAC, unless its home shows that the
    /// guest lives there, because the ids of namespaces are used again at once.
    fn is_anothers(&self, nic: &RunningNic<'_>, child: &ChildKey) -> bool {
        let owner = self.homes.get(&child.netns).filter(|owner| self.running.guests.contains(*owner));
        owner.is_some_and(|owner| *owner != nic.key.guest)
    }

    /// No other child that may be the NIC has this MAC.
    fn is_only(&self, nic: &RunningNic<'_>, mac: Mac) -> bool {
        let children = &self.facts.snapshot.children;
        let same_mac = self.facts.host.children_with(mac);
        same_mac.filter(|child| may_be_of(nic.guest, child, &children[*child])).nth(1).is_none()
    }
}

/// A VM's NIC is a tap and stays with the host. A container's NIC is in its own namespace. A link of it on
/// the host is on its way in or out, or was left there, MAC and all, when the container died while its server
/// was down. A child that listens in was made by the guest itself.
fn may_be_of(guest: &Guest, key: &ChildKey, child: &Child) -> bool {
    let vm = guest.kind == GuestKind::VirtualMachine;
    child.tap == vm && (key.netns == Netns::Host) == vm && child.mode != Mode::Source
}
