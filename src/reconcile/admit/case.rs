//! The subject of the rules.

use std::cell::OnceCell;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::snapshot::{Child, GuestAddress, Link};
use crate::model::{LinkIndex, Mac};
use crate::reconcile::facts::routing::{self, Leads};
use crate::reconcile::facts::{Facts, HostFacts};

/// The claimant of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The MACs that are its by right. A machine that was seen on the LAN with one of them may have been the
    /// claimant itself, before it came here. Root in a guest can take any other machine's MAC.
    pub known_as: Vec<Mac>,
    /// The MACs at which the shim reaches it. They differ from its own for a sibling of the NIC in another
    /// mode than bridge.
    pub reached_at: Vec<Mac>,
    /// An address of it turned out to be another machine's.
    pub distrusted: bool,
}

impl Claimant {
    /// Our neighbour entry names one of its MACs.
    pub(in crate::reconcile) fn holds(&self, facts: &Facts<'_>, parent: LinkIndex, ip: IpAddr) -> bool {
        self.reached_at.iter().any(|mac| facts.holds(parent, *mac, ip))
    }
}

/// The part of an address that others leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// All of it.
    Leave,
    /// The NIC has reached its limit with the addresses before this one.
    FillTheNic,
    /// Another NIC holds it.
    Hold {
        /// That NIC, by its name or MAC.
        holder: String,
    },
    /// Another NIC held it, and this one claimed it then. It waits for this many seconds after the loss.
    MayComeBack {
        /// That NIC, by its name or MAC.
        had: String,
        /// How long the former holder may come back, in seconds.
        wait: u64,
    },
}

/// One address of one child, and everything that a rule may look at.
#[derive(Debug)]
pub struct Case<'a> {
    /// The facts for all decisions, from configuration and snapshot.
    pub facts: Facts<'a>,
    /// The child's parent.
    pub parent: &'a Link,
    /// The child that has the address.
    pub child: &'a Child,
    /// Its claimant.
    pub claimant: &'a Claimant,
    /// The address.
    pub address: IpAddr,
    /// Its state in the guest's kernel.
    pub state: GuestAddress,
    /// The part of it that other addresses of the NIC, and other NICs, leave.
    pub others: Others,
    leads: OnceCell<Leads<'a>>,
}

impl<'a> Case<'a> {
    /// An address of a child as if nobody else had any.
    pub fn new(
        facts: &Facts<'a>,
        parent: &'a Link,
        child: &'a Child,
        claimant: &'a Claimant,
        address: IpNet,
        state: GuestAddress,
    ) -> Case<'a> {
        Case {
            facts: *facts,
            parent,
            child,
            claimant,
            address: address.addr(),
            state,
            others: Others::Leave,
            leads: OnceCell::new(),
        }
    }

    /// Whether our neighbour entry names the claimant.
    pub(in crate::reconcile) fn is_held(&self) -> bool {
        self.claimant.holds(&self.facts, self.parent.index, self.address)
    }

    /// The host's own facts.
    pub(super) fn host(&self) -> &'a HostFacts {
        self.facts.host
    }

    /// The host's address that would talk to it.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.facts.source(self.parent, self.address)
    }

    /// The way of the host's own routing, looked up once.
    pub(super) fn leads(&self) -> Leads<'a> {
        *self.leads.get_or_init(|| routing::look_up(&self.facts, self.parent, self.address))
    }

    /// The length of the longest prefix in policy.allow that contains it.
    pub(super) fn allowed(&self) -> Option<u8> {
        let allow = self.facts.config.policy.allow.iter();
        allow.filter(|range| range.contains(&self.address)).map(IpNet::prefix_len).max()
    }

    /// Whether it is in a network of its parent. A renewal takes that network away for a moment, and the
    /// remaining routes may lead anywhere.
    pub(super) fn is_near(&self) -> bool {
        self.facts.networks(self.parent).any(|range| range.contains(&self.address))
    }
}
