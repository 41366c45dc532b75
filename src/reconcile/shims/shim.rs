//! A shim that should exist: plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use smol_str::SmolStr;

use crate::model::snapshot::Setting;
use crate::model::{LinkRef, Mac, PerFamily};
use crate::reconcile::facts::obstacle::Obstacle;

/// A shim that should exist.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredShim {
    /// Its name, and its ifindex if it exists.
    pub link: LinkRef,
    /// The parent's name.
    pub parent: SmolStr,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Why it should exist.
    pub why: String,
    /// Why it cannot, if it cannot.
    pub obstacle: Option<Obstacle>,
    /// Its sysctls.
    pub settings: Vec<(Setting, i64)>,
    /// Its own addresses, each with the length of its prefix.
    pub addresses: BTreeSet<IpNet>,
    /// The host's addresses that it answers for.
    pub proxies: BTreeSet<Ipv6Addr>,
    /// The configured ranges, with their preferred source.
    pub ranges: BTreeMap<IpNet, Option<IpAddr>>,
    /// The tables that its routes go to.
    pub tables: PerFamily<u32>,
    /// The MACs of the guests that its filter passes; `None` if ranges of strangers lie behind it.
    pub macs: Option<BTreeSet<Mac>>,
    /// The IPv4 addresses that its filter lets guests ask for, with the configured ranges.
    pub answers: BTreeSet<Ipv4Net>,
}
