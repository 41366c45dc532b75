//! What can be heard: which events come by which socket, and what has to be read where some of them are lost.

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::libc;

use super::slice::Slice;

/// A kind of socket for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// What happens to links and addresses in all namespaces, and which of them there are.
    Everywhere,
    /// What else happens in the host's namespace.
    Here,
    /// What happens to nftables.
    Filters,
}

impl Source {
    /// The netlink protocol.
    pub(super) fn protocol(self) -> isize {
        match self {
            Source::Everywhere | Source::Here => NETLINK_ROUTE,
            Source::Filters => NETLINK_NETFILTER,
        }
    }

    /// The multicast groups.
    pub(super) fn groups(self) -> &'static [u32] {
        /// All that happens to nftables.
        const NFNLGRP_NFTABLES: u32 = 7;
        match self {
            Source::Everywhere => &[
                libc::RTNLGRP_LINK,
                libc::RTNLGRP_IPV4_IFADDR,
                libc::RTNLGRP_IPV6_IFADDR,
                libc::RTNLGRP_NSID,
            ],
            Source::Here => &[
                libc::RTNLGRP_NEIGH,
                libc::RTNLGRP_IPV4_ROUTE,
                libc::RTNLGRP_IPV6_ROUTE,
                libc::RTNLGRP_IPV4_RULE,
                libc::RTNLGRP_IPV6_RULE,
                libc::RTNLGRP_IPV4_NETCONF,
                libc::RTNLGRP_IPV6_NETCONF,
                libc::RTNLGRP_NEXTHOP,
            ],
            Source::Filters => &[NFNLGRP_NFTABLES],
        }
    }

    /// The groups that older kernels (6.1 for one) do not have.
    pub(super) fn newer_groups(self) -> &'static [u32] {
        const RTNLGRP_IPV6_MCADDR: u32 = 38;
        if self == Source::Here { &[RTNLGRP_IPV6_MCADDR] } else { &[] }
    }

    /// What its events tell of, that which goes with a link or an address without a word of its own included.
    pub(super) fn tells_of(self) -> &'static [Slice] {
        match self {
            Source::Everywhere => &[
                Slice::Links,
                Slice::Addresses,
                Slice::Routes,
                Slice::Neighbours,
                Slice::Proxies,
                Slice::Namespaces,
                Slice::Homes,
            ],
            Source::Here => {
                &[Slice::Routes, Slice::Rules, Slice::Neighbours, Slice::Proxies, Slice::Settings]
            }
            Source::Filters => &[Slice::Filter],
        }
    }
}
