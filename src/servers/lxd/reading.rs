//! One complete reading of a server.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::guest::{ManagedNetwork, NetworkKey};
use crate::model::inventory::{Guest, Home, Power, ServerKind};
use crate::model::text;
use crate::servers::questions::GuestName;

/// Guests, each with the time of its last start as its server writes it. Another time means another first
/// process.
pub(super) type Starts = BTreeMap<GuestName, String>;

/// Maximum number of warnings shown individually.
const WARNINGS: usize = 3;

/// A server's own description.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::servers) struct Info {
    pub(in crate::servers) kind: ServerKind,
    pub(in crate::servers) version: String,
    pub(in crate::servers) name: String,
    pub(in crate::servers) clustered: bool,
    pub(in crate::servers) pid: u32,
    /// The cluster's members by their addresses.
    pub(in crate::servers) members: BTreeMap<IpAddr, String>,
}

/// Everything that we know of a server. Parts that a new reading lacks are taken over from the one before.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::servers) struct Reading {
    pub(in crate::servers) info: Info,
    /// Sorted by project and name.
    pub(in crate::servers) guests: Vec<Guest>,
    /// The running guests whose first processes we are asked for.
    pub(super) starts: Starts,
    pub(super) networks: BTreeMap<NetworkKey, ManagedNetwork>,
    /// The parts that could not be read, most important first.
    pub(super) warnings: Vec<String>,
}

impl Reading {
    /// A sentence about the parts that could not be read, if there are any.
    pub(in crate::servers) fn message(&self) -> Option<String> {
        let more = self.warnings.len().saturating_sub(WARNINGS);
        let shown = self.warnings.iter().take(WARNINGS).map(|warning| text::words(warning));
        let mut text = shown.collect::<Vec<_>>().join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        (!text.is_empty()).then_some(text)
    }

    /// Whether this guest is there and runs.
    pub(super) fn runs(&self, guest: &GuestName) -> bool {
        self.place(guest).is_some_and(|place| self.guests[place].power == Power::Running)
    }

    /// Enters the first process of a guest.
    pub(in crate::servers) fn enter_first_process(&mut self, guest: &GuestName, pid: u32) {
        if let Some(place) = self.place(guest) {
            self.guests[place].home = Home::Pid(pid);
        }
    }

    fn place(&self, GuestName { project, name }: &GuestName) -> Option<usize> {
        self.guests.binary_search_by(|guest| (&guest.project, &guest.name).cmp(&(project, name))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_warnings_are_shown() {
        let info = Info {
            kind: ServerKind::Lxd,
            version: "5".to_owned(),
            name: "lxd1".to_owned(),
            clustered: false,
            pid: 1,
            members: BTreeMap::new(),
        };
        let warnings = (0..5).map(|n| format!("w{n}")).collect();
        let reading =
            Reading { info, guests: vec![], starts: Starts::new(), networks: BTreeMap::new(), warnings };
        assert_eq!(reading.message().unwrap(), "w0; w1; w2; and 2 more");
    }
}
