//! The state of the site that chaos intends, as its operations have made it so far. Drawing operations needs
//! nothing else, so a seed gives the same sequence however long each of them takes. [`crate::truth`] reads
//! the real state of the site.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::configuration::Configuration;
use crate::operation::guest::{CLAIMS, HOSTS};
use crate::site::{ROLES, v4, v6};

/// The state of the site that chaos intends.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) uplink: Uplink,
    /// `net.ipv6.conf.all.forwarding`.
    pub(crate) forwarding: bool,
    /// Foreign policy rules, as indices of [`crate::foreign::RULES`].
    pub(crate) rules: BTreeSet<usize>,
    /// Foreign routes that come and go, as indices of [`crate::foreign::ROUTES`].
    pub(crate) routes: BTreeSet<usize>,
    /// There are more network namespaces than the kernel lists.
    pub(crate) crowd: bool,
    pub(crate) servers: [ServerIntent; 2],
    pub(crate) guests: [GuestIntent; ROLES.len()],
    pub(crate) daemon: DaemonIntent,
}

/// The host's uplink, which is the parent of all guests' NICs.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    pub(crate) name: &'static str,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    /// The last part of its IPv4 address, and its prefix length.
    pub(crate) v4: Option<(u8, u8)>,
    /// The last parts of its static IPv6 addresses.
    pub(crate) v6: BTreeSet<u8>,
    pub(crate) mtu: u32,
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerIntent {
    Up,
    Down,
    /// It takes connections and answers nothing.
    Hung,
}

/// A guest.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestIntent {
    pub(crate) running: bool,
    /// Its NIC has another MAC than its server knows.
    pub(crate) other_mac: bool,
    /// It has another address instead of its own static one.
    pub(crate) swapped: bool,
    /// Addresses beyond its own, as indices of [`crate::operation::guest::CLAIMS`].
    pub(crate) claims: BTreeSet<usize>,
}

/// The daemon under test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaemonIntent {
    pub(crate) running: bool,
    /// Its configuration.
    pub(crate) configuration: Configuration,
    /// The last file that it read was faulty.
    pub(crate) rejected: bool,
}

impl Default for Intent {
    fn default() -> Intent {
        Intent {
            uplink: Uplink {
                name: "eth0",
                up: true,
                carrier: true,
                v4: Some((11, 24)),
                v6: [11].into(),
                mtu: 1500,
            },
            forwarding: false,
            rules: BTreeSet::new(),
            routes: BTreeSet::new(),
            crowd: false,
            servers: [ServerIntent::Up; 2],
            guests: std::array::from_fn(|_| GuestIntent { running: true, ..GuestIntent::default() }),
            daemon: DaemonIntent { running: true, configuration: Configuration::Default, rejected: false },
        }
    }
}

impl Intent {
    /// Frames get from the host to the LAN and back.
    pub(crate) fn has_lan(&self) -> bool {
        self.uplink.up && self.uplink.carrier
    }

    /// A guest has an address of the host, always or at times.
    pub(crate) fn has_impostor(&self) -> bool {
        self.guests.iter().any(|guest| HOSTS.iter().any(|claim| guest.claims.contains(claim)))
    }

    /// The addresses that more than one guest has.
    pub(crate) fn contested(&self) -> BTreeSet<IpAddr> {
        let mut had = BTreeSet::new();
        let guests = self.guests.iter().zip(&ROLES).filter(|(guest, _)| guest.running);
        let addresses = guests.flat_map(|(guest, role)| {
            let claims = guest.claims.iter().filter_map(|claim| CLAIMS[*claim].parse::<IpNet>().ok());
            let own = [v4(role.number).into(), v6(role.number).into()];
            own.into_iter().chain(claims.map(|claim| claim.addr()))
        });
        addresses.filter(|address| !had.insert(*address)).collect()
    }

    /// The guest's server answers.
    pub(crate) fn is_served(&self, guest: usize) -> bool {
        self.servers[ROLES[guest].server] == ServerIntent::Up
    }
}
