//! The parts of the snapshot that are read on their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use crate::kernel::socket::channel::Channel;

use crate::model::{Family, LinkIndex, NetnsId};

/// A part of the snapshot, in the order in which several are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel) enum Slice {
    Host,
    Links,
    Addresses,
    Routes,
    Rules,
    Neighbours,
    Proxies,
    Settings,
    /// How full the neighbour tables are.
    Tables,
    Filter,
    /// The namespaces that have an id, and then each of them.
    Namespaces,
    /// The namespaces of the processes that were asked for.
    Homes,
    /// All children in one namespace, with their addresses.
    Namespace(NetnsId),
    /// One link in one namespace, with its master and the addresses of both if it is a child.
    Child(NetnsId, LinkIndex),
    /// The addresses of one child and its master, of one family: each costs a few microseconds.
    ChildAddresses(NetnsId, LinkIndex, Family),
}

impl Slice {
    /// The objects of the host.
    pub(in crate::kernel) const OF_HOST: [Slice; 9] = [
        Slice::Host,
        Slice::Links,
        Slice::Addresses,
        Slice::Routes,
        Slice::Rules,
        Slice::Neighbours,
        Slice::Proxies,
        Slice::Settings,
        Slice::Tables,
    ];

    /// The slices that the events of a channel are about, and those that change together with a link or an
    /// address without an event of their own.
    pub(in crate::kernel) fn told_by(channel: Channel) -> &'static [Slice] {
        match channel {
            Channel::Everywhere => &[
                Slice::Links,
                Slice::Addresses,
                Slice::Routes,
                Slice::Neighbours,
                Slice::Proxies,
                Slice::Namespaces,
                Slice::Homes,
            ],
            Channel::Here => {
                &[Slice::Routes, Slice::Rules, Slice::Neighbours, Slice::Proxies, Slice::Settings]
            }
            Channel::Filters => &[Slice::Filter],
        }
    }

    /// The slices that are read with this one, including itself.
    pub(in crate::kernel) fn covers(self) -> Vec<RangeInclusive<Slice>> {
        let addresses = |id, first, last| {
            Slice::ChildAddresses(id, first, Family::V4)..=Slice::ChildAddresses(id, last, Family::V6)
        };
        match self {
            Slice::Namespace(id) => vec![
                self..=self,
                Slice::Child(id, LinkIndex::NONE)..=Slice::Child(id, LinkIndex::LAST),
                addresses(id, LinkIndex::NONE, LinkIndex::LAST),
            ],
            Slice::Child(id, index) => vec![self..=self, addresses(id, index, index)],
            _ => vec![self..=self],
        }
    }

    /// The namespace that it is in, if it is a guest's.
    pub(in crate::kernel) fn namespace(self) -> Option<NetnsId> {
        match self {
            Slice::Namespace(id) | Slice::Child(id, _) | Slice::ChildAddresses(id, ..) => Some(id),
            _ => None,
        }
    }
}

/// Removes a slice and those that are read with it, without a look at any other, because there may be
/// thousands.
pub(super) fn take_from(slices: &mut BTreeSet<Slice>, slice: Slice) {
    for range in slice.covers() {
        while let Some(covered) = slices.range(range.clone()).next().copied() {
            slices.remove(&covered);
        }
    }
}

/// The same in a map.
pub(super) fn take_out_of<T>(slices: &mut BTreeMap<Slice, T>, slice: Slice) {
    for range in slice.covers() {
        while let Some(covered) = slices.range(range.clone()).next().map(|(covered, _)| *covered) {
            slices.remove(&covered);
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slice::Host => f.write_str("the facts of the host"),
            Slice::Links => f.write_str("the links of the host"),
            Slice::Addresses => f.write_str("the addresses of the host"),
            Slice::Routes => f.write_str("the routes of the host"),
            Slice::Rules => f.write_str("the policy rules of the host"),
            Slice::Neighbours => f.write_str("the neighbours of the host"),
            Slice::Proxies => f.write_str("the proxy neighbours of the host"),
            Slice::Settings => f.write_str("the sysctls of the shims"),
            Slice::Tables => f.write_str("the sizes of the neighbour tables"),
            Slice::Filter => f.write_str("the filters of the shims"),
            Slice::Namespaces => f.write_str("the list of namespaces"),
            Slice::Homes => f.write_str("the namespaces of guests"),
            Slice::Namespace(id) => write!(f, "namespace {id}"),
            Slice::Child(id, index) => write!(f, "link {index} of namespace {id}"),
            Slice::ChildAddresses(id, index, _) => {
                write!(f, "the addresses of link {index} of namespace {id}")
            }
        }
    }
}
