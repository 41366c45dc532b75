//! Everything that should exist, and every decision on the way there: plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::facts::{HostFacts, UnclaimedAddress};
use super::hold::{Held, Holder, Leftovers};
use super::select::Decision;
use super::shims::DesiredShim;
use crate::config::Config;
use crate::model::snapshot::{ChildKey, Link};
use crate::model::status::Problem;
use crate::model::{Family, GuestKey, Inventory, LinkIndex, Mac, NicKey, Snapshot};

/// Everything that should exist, and every decision on the way there. `held` and `leftovers` follow the
/// addresses of guests one by one. Everything else stays until everything is decided again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// By the parent's ifindex.
    pub shims: BTreeMap<LinkIndex, DesiredShim>,
    /// The rules that must exist: the priority of each.
    pub rules: BTreeMap<Family, u32>,
    /// The decision on every macvlan NIC.
    pub decisions: BTreeMap<NicKey, Decision>,
    /// The guests that cannot be identified by their MACs. Their servers should name their first processes.
    pub doubts: BTreeSet<GuestKey>,
    /// The claimants and holders of all addresses.
    pub held: Held,
    /// The routes of NICs that have given up an address, and which of them must go at once.
    pub leftovers: Leftovers,
    /// False while servers are still to be read. Then no shim is surplus.
    pub settled: bool,
    /// The faults of the host or the configuration. [`Desired::all_problems`] has those of guests as well.
    pub problems: Vec<Problem>,
    /// The host's facts that all this depends on.
    pub host: HostFacts,
    /// The addresses that are held although no server vouches for their holders.
    pub unclaimed: BTreeSet<UnclaimedAddress>,
}

impl Desired {
    /// Nothing of ours should exist.
    pub fn nothing(snapshot: &Snapshot) -> Desired {
        let (config, inventory) = (Config::default(), Inventory::default());
        let host = HostFacts::gather(&config, &inventory, snapshot, &BTreeSet::new());
        Desired { settled: true, host, ..Desired::default() }
    }

    /// Whether a child takes part as far as an address is concerned: a server vouches for it, or it holds the
    /// address.
    pub fn takes_part(&self, snapshot: &Snapshot, key: &ChildKey, address: IpAddr) -> bool {
        let holds = |parent, mac| self.holds(snapshot, parent, mac, address);
        self.held.claimants.claim_of(snapshot, key, holds).is_some()
    }

    /// Our neighbour entry on the shim of that very parent names this MAC, or did so before it was dropped
    /// together with others.
    pub(super) fn holds(&self, snapshot: &Snapshot, parent: LinkIndex, mac: Mac, address: IpAddr) -> bool {
        self.host.is_named(snapshot, parent, mac, address)
            || self.unclaimed.contains(&UnclaimedAddress { parent, mac, address })
    }

    /// The shim that an address should be routed through, if it has a holder and a shim is possible there.
    pub fn shim_of(&self, address: IpAddr) -> Option<(&DesiredShim, &Holder)> {
        let holder = self.held.holders.get(&address)?;
        let shim = self.shims.get(&holder.parent).filter(|shim| shim.obstacle.is_none())?;
        Some((shim, holder))
    }

    /// A marked link with the name of a shim that does not exist, or exists under another name, if nobody
    /// desires it.
    pub(super) fn in_the_way<'a>(&self, snapshot: &'a Snapshot, shim: &DesiredShim) -> Option<&'a Link> {
        let link = snapshot.link_named(&shim.link.name).filter(|link| link.shim_parent().is_some())?;
        let is_desired = self.shims.values().any(|shim| shim.link.index == Some(link.index));
        (!is_desired).then_some(link)
    }
}
