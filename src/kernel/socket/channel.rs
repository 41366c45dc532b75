//! The kinds of sockets that hear events, with the events of each.

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::libc;

/// A kind of socket for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Channel {
    /// Changes of links and addresses in all namespaces, and namespaces that come and go.
    Everywhere,
    /// All other changes in the host's namespace.
    Here,
    /// Changes of nftables.
    Filters,
}

impl Channel {
    /// The netlink protocol.
    pub(in crate::kernel) fn protocol(self) -> isize {
        match self {
            Channel::Everywhere | Channel::Here => NETLINK_ROUTE,
            Channel::Filters => NETLINK_NETFILTER,
        }
    }

    /// The multicast groups.
    pub(in crate::kernel) fn groups(self) -> &'static [u32] {
        /// All changes of nftables.
        const NFNLGRP_NFTABLES: u32 = 7;
        match self {
            Channel::Everywhere => &[
                libc::RTNLGRP_LINK,
                libc::RTNLGRP_IPV4_IFADDR,
                libc::RTNLGRP_IPV6_IFADDR,
                libc::RTNLGRP_NSID,
            ],
            Channel::Here => &[
                libc::RTNLGRP_NEIGH,
                libc::RTNLGRP_IPV4_ROUTE,
                libc::RTNLGRP_IPV6_ROUTE,
                libc::RTNLGRP_IPV4_RULE,
                libc::RTNLGRP_IPV6_RULE,
                libc::RTNLGRP_IPV4_NETCONF,
                libc::RTNLGRP_IPV6_NETCONF,
                libc::RTNLGRP_NEXTHOP,
            ],
            Channel::Filters => &[NFNLGRP_NFTABLES],
        }
    }

    /// The groups that older kernels (6.1 for one) do not have.
    pub(in crate::kernel) fn newer_groups(self) -> &'static [u32] {
        const RTNLGRP_IPV6_MCADDR: u32 = 38;
        if self == Channel::Here { &[RTNLGRP_IPV6_MCADDR] } else { &[] }
    }
}
