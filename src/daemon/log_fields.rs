//! The fields of the log's lines, for programs: `journalctl GUEST=web`.

use std::net::IpAddr;

use crate::model::{GuestKey, Mac, NicKey};

/// `MESSAGE_ID` of an operation that was done.
pub(super) const DONE: &str = "f6f7905fac794b6587394a6f3f9afe35";
/// `MESSAGE_ID` of an operation that failed.
pub(super) const FAILED: &str = "72062b35213c4cee96111ce1345d13c6";
/// `MESSAGE_ID` of a problem that stands.
pub(super) const PROBLEM: &str = "f304f103646943f5889de39cd14a51b5";
/// `MESSAGE_ID` of a problem that is over.
pub(super) const OVER: &str = "a1811d7514c249aa987755d1986edbbb";
/// `MESSAGE_ID` of a daemon that has taken in what it has found.
pub(super) const READY: &str = "90db690a14394849af8aa8636c240c1c";

/// The subject of a line: a guest, or one of its NICs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SubjectFields<'a> {
    pub(super) server: Option<&'a str>,
    pub(super) project: Option<&'a str>,
    pub(super) guest: Option<&'a str>,
    pub(super) nic: Option<&'a str>,
}

impl SubjectFields<'_> {
    /// Of a NIC; none if there is none.
    pub(super) fn of_nic(nic: Option<&NicKey>) -> SubjectFields<'_> {
        nic.map_or_else(SubjectFields::default, |NicKey { guest, nic }| SubjectFields {
            server: Some(&guest.server.0),
            project: Some(&guest.project),
            guest: Some(&guest.name),
            nic: Some(nic),
        })
    }

    /// Of the object of a problem: `lxd:web`, `lxd:shop/web eth0`; none for any other.
    pub(super) fn of_object(object: &str) -> SubjectFields<'_> {
        let (label, nic) = match object.split_once(' ') {
            Some((label, nic)) => (label, Some(nic)),
            None => (object, None),
        };
        let is_address = label.parse::<IpAddr>().is_ok() || label.parse::<Mac>().is_ok();
        let Some((server, guest)) = label.split_once(':').filter(|_| !is_address) else {
            return SubjectFields::default();
        };
        let (project, guest) = guest.split_once('/').unwrap_or((GuestKey::DEFAULT_PROJECT, guest));
        SubjectFields { server: Some(server), project: Some(project), guest: Some(guest), nic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerId;

    #[test]
    fn the_object_of_a_problem_may_be_a_guest() {
        for (server, project, guest, nic) in [
            ("lxd", "default", "web", Some("eth0")),
            ("incus", "shop", "web", Some("eth0")),
            ("lxd", "default", "a", None),
        ] {
            let key = GuestKey::new(ServerId(server.into()), project.into(), guest.into());
            let object = match nic {
                Some(nic) => NicKey { guest: key, nic: nic.into() }.to_string(),
                None => key.to_string(),
            };
            let fields = SubjectFields::of_object(&object);
            assert_eq!((fields.server, fields.project), (Some(server), Some(project)), "{object}");
            assert_eq!((fields.guest, fields.nic), (Some(guest), nic), "{object}");
        }
        for object in ["eth0", "kernel", "10.0.0.9", "fd77::9", "00:16:3e:00:00:01", "policy rules"] {
            assert_eq!(SubjectFields::of_object(object), SubjectFields::default(), "{object}");
        }
    }
}
