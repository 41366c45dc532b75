//! Macvlan children, and the namespaces they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use smol_str::SmolStr;

use super::inventory::Mode;
use super::link::LinkKind;
use super::{LinkIndex, Mac, NetnsId};

/// Where a child is: a namespace, and its ifindex there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildKey {
    /// The namespace.
    pub netns: Netns,
    /// Its ifindex there.
    pub index: LinkIndex,
}

impl ChildKey {
    /// Before all others.
    pub const FIRST: ChildKey = ChildKey { netns: Netns::Host, index: LinkIndex::NONE };
    /// After all others.
    pub const LAST: ChildKey = ChildKey { netns: Netns::Id(NetnsId::LAST), index: LinkIndex::LAST };

    /// All of one namespace.
    pub fn all_in(netns: Netns) -> RangeInclusive<ChildKey> {
        ChildKey { netns, index: LinkIndex::NONE }..=ChildKey { netns, index: LinkIndex::LAST }
    }
}

/// A network namespace, as the host's namespace numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Netns {
    /// The host's own.
    Host,
    /// Another one, by its netns id.
    Id(NetnsId),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Netns::Host => f.write_str("the host's namespace"),
            Netns::Id(id) => write!(f, "namespace {id}"),
        }
    }
}

/// A macvlan or macvtap link whose parent is a link of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// The parent's ifindex in the host's namespace.
    pub parent: LinkIndex,
    /// Its MAC.
    pub mac: Mac,
    /// Its mode.
    pub mode: Mode,
    /// Its name in its namespace.
    pub name: SmolStr,
    /// macvtap: a VM's NIC.
    pub tap: bool,
    /// Administratively up. No two children of a parent that are up have the same MAC.
    pub up: bool,
    /// The bridge or bond that it is a port of, in its namespace.
    pub master: Option<Master>,
    /// The MACs that it overhears, in mode source.
    pub sources: Sources,
    /// Its addresses and its master's, each with the length of its prefix, and with any hindrance to its use.
    pub addresses: BTreeMap<IpNet, GuestAddress>,
}

/// The list of a child in mode source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// The MACs from which it gets all frames, the first few in their order.
    pub macs: BTreeSet<Mac>,
    /// How many there are.
    pub count: usize,
    /// Nobody else gets these frames (`nodst`), even while it is down.
    pub only: bool,
}

/// A bridge or bond of a guest that takes in the frames of its ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Master {
    /// Its ifindex in the guest's namespace.
    pub index: LinkIndex,
    /// Its name in the guest's namespace.
    pub name: SmolStr,
    /// Its MAC, which it sends from.
    pub mac: Option<Mac>,
}

impl Child {
    /// A link with these properties, whose addresses are not known yet; `None` if it is of another kind.
    pub fn of_link(kind: &LinkKind, parent: LinkIndex, mac: Mac, name: &str, up: bool) -> Option<Child> {
        let (mode, tap) = match kind {
            LinkKind::Macvlan(mode) => (*mode, false),
            LinkKind::Macvtap(mode) => (*mode, true),
            _ => return None,
        };
        let (name, addresses) = (name.into(), BTreeMap::new());
        let sources = Sources::default();
        Some(Child { parent, mac, mode, name, tap, up, master: None, sources, addresses })
    }

    /// Whether the two differ only in their addresses.
    pub fn is_same_but_for_addresses(&self, other: &Child) -> bool {
        let Child { parent, mac, mode, name, tap, up, master, sources, addresses: _ } = self;
        (parent, mac, mode, name) == (&other.parent, &other.mac, &other.mode, &other.name)
            && (tap, up, master, sources) == (&other.tap, &other.up, &other.master, &other.sources)
    }
}

/// An address on a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAddress {
    /// In use.
    Settled,
    /// Duplicate address detection is still under way.
    Tentative,
    /// Duplicate address detection failed.
    Duplicate,
}
