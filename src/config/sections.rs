//! The sections of the file and their keys. A new key is a field here, and otherwise appears only where it is
//! used.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

use super::read::{boolean, choice, list, number, of_family, optional, text, unique};
use super::section::{Schema, Section, section};
use super::values::{name, own_address, parent, prefix, range, socket};

/// All sections, in the order in which they are shown.
pub const SECTIONS: [&Schema; 6] =
    [ServerSection::SCHEMA, Select::SCHEMA, Shim::SCHEMA, Parent::SCHEMA, Policy::SCHEMA, Metrics::SCHEMA];

section! {
    /// A server to follow; repeat the section for each.
    pub struct ServerSection = "[[server]]" {
        /// The unix socket of a server to follow. Without any `[[server]]`, every LXD and Incus server of
        /// this host is followed.
        pub socket: PathBuf = unique(text(socket)), example r#""/var/lib/lxd/unix.socket""#;
    }
}

section! {
    /// The guests that take part.
    pub struct Select = "[select]" {
        /// Only guests with one of these profiles; empty: any.
        pub profiles: Vec<String> = list(text(name));
        /// Only guests of these projects; empty: any.
        pub projects: Vec<String> = list(text(name));
    }
}

section! {
    /// The keys for every shim.
    pub struct Shim = "[shim]" {
        /// Own addresses of every shim, without prefix length. They are needed only where the host has no
        /// address on the parent (then `allow` of `[policy]` must also admit the guests' network), where NAT
        /// of bridged guests must cross a second uplink, or with `net.ipv4.conf.all.arp_ignore=1`.
        pub addresses: Vec<IpAddr> = list(of_family(text(own_address)));
        /// Reach guests over IPv6 too.
        pub ipv6: bool = boolean, default true;
        /// Keep shims while no guest needs them.
        pub keep: bool = boolean;
    }
}

section! {
    /// The keys for the shim on one parent; repeat the section for each.
    pub struct Parent = "[[parent]]" {
        /// The host's interface below the guests' NICs. The keys below hold for its shim.
        pub name: String = unique(text(parent)), example r#""eth1""#;
        /// Own addresses of this shim.
        pub addresses: Option<Vec<IpAddr>> = optional(list(of_family(text(own_address)))),
            example r#"["192.168.101.72"]"#;
        /// Ranges to reach through this shim besides known guests. The shim then stays while no guest needs
        /// it, unless `keep` is false.
        pub routes: Vec<IpNet> = list(unique(of_family(text(range)))), example r#"["192.168.124.160/27"]"#;
        /// Keep this shim while no guest needs it.
        pub keep: Option<bool> = optional(boolean), example "true";
    }
}

section! {
    /// The addresses that are admitted.
    pub struct Policy = "[policy]" {
        /// Admit addresses of these ranges besides the parent's own networks, and gateways in them. An
        /// address that the host routes elsewhere is admitted only by a range at least as long as the prefix
        /// of that route.
        pub allow: Vec<IpNet> = list(text(prefix));
        /// Never admit addresses of these ranges.
        pub deny: Vec<IpNet> = list(text(prefix));
        /// Maximum number of addresses routed per NIC.
        pub max_addresses: usize = number(1..=4096), default 32;
        /// When the LAN is asked who has an address that a guest claims. `"optimistic"`: while its route is
        /// added; the route is withdrawn if another machine answers. `"strict"`: before its route is added,
        /// which takes three seconds. `"off"`: never.
        pub probe: Probe = choice(&Probe::ALL);
    }
}

section! {
    /// The numbers for Prometheus.
    pub struct Metrics = "[metrics]" {
        /// Give each NIC of a guest that should be reached a series of its own, up to 2,000 of them. Without,
        /// NICs are only counted.
        pub per_guest: bool = boolean, default true;
    }
}

/// When the LAN is asked who has an address that a guest claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Probe {
    /// While its route is added, which is withdrawn if somebody answers. If an address of a NIC turned out to
    /// be another machine's, the NIC is treated strictly from then on.
    #[default]
    Optimistic,
    /// Before: the route waits until nobody has answered, which takes three seconds.
    Strict,
    /// Never. Entries that the host's neighbour table has anyway still count, and are checked if they are
    /// stale.
    Off,
}

impl Probe {
    /// All of them.
    pub const ALL: [Probe; 3] = [Probe::Optimistic, Probe::Strict, Probe::Off];
}

/// As it is written.
impl From<Probe> for &'static str {
    fn from(probe: Probe) -> &'static str {
        match probe {
            Probe::Optimistic => "optimistic",
            Probe::Strict => "strict",
            Probe::Off => "off",
        }
    }
}
