//! What should exist, and every decision on the way there: plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::admit::{Reason, Verdict};
use super::ground::Facts;
use super::join::Joins;
use super::shim::Obstacle;
use crate::model::snapshot::{ChildKey, Setting};
use crate::model::status::Problem;
use crate::model::{Mac, NicKey, ShimRef};

/// What this process remembers beside the kernel's state. Losing it costs time, never correctness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Which child is which NIC.
    pub joins: Joins,
    /// MACs with which the kernel let no shim go up, because somebody that we cannot see has them.
    pub refused_macs: BTreeSet<Mac>,
}

/// Everything that should exist, and every decision on the way there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// By the parent's ifindex.
    pub shims: BTreeMap<u32, Shim>,
    /// The rules that must stand: for IPv4 and IPv6, the priority of each.
    pub rules: BTreeMap<bool, u32>,
    /// Addresses that the LAN has to be asked for: the parent's ifindex and name, the address.
    pub probes: BTreeSet<(u32, String, IpAddr)>,
    /// The decision on every macvlan NIC.
    pub decisions: BTreeMap<NicKey, Decision>,
    /// The served NICs, by their child.
    pub served: BTreeMap<ChildKey, NicKey>,
    /// Why a child's address is refused: by parent, address and the child's MAC.
    pub refused: BTreeMap<(u32, IpAddr, Mac), Reason>,
    /// False while servers are still to be read: then no shim is surplus.
    pub settled: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The host's facts that all this stands on.
    pub facts: Facts,
}

/// A shim that should stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Shim {
    /// Its name, and its ifindex if it stands.
    pub shim: ShimRef,
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
    /// Its own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The host's addresses that it answers for.
    pub proxies: BTreeSet<Ipv6Addr>,
    /// The guests' addresses.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// The configured ranges, with their preferred source.
    pub ranges: BTreeMap<IpNet, Option<IpAddr>>,
    /// The tables for IPv4 and IPv6 routes.
    pub tables: [u32; 2],
    /// The MACs of the guests that use it; the filter lets these pass.
    pub macs: BTreeSet<Mac>,
}

/// A guest's address that should be routed.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The guest's MAC.
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
    /// It is left out: a stable code and a sentence.
    Unselected(&'static str, String),
    /// We cannot serve it: a stable code and a sentence.
    Unsupported(&'static str, String),
    /// It is ours to serve, but the kernel does not show it.
    Unseen(String),
    /// It is served.
    Served {
        /// Where the kernel shows it.
        child: ChildKey,
        /// The parent's ifindex, by the kernel's word.
        parent: u32,
        /// Its MAC, by the kernel's word.
        mac: Mac,
        /// The verdicts on its addresses.
        addresses: BTreeMap<IpAddr, Verdict>,
    },
}
