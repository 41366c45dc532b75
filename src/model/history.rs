//! The contract of `events --json`, a line for each change: keys may be added, never renamed.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{GuestKey, Timestamp};

/// A change of a state that `status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateChange {
    /// Its number. Each change has the next one, so a gap is a change that is no longer known.
    pub id: u64,
    /// When the daemon noticed it: at most about a second after it happened.
    pub time: Timestamp,
    /// Whose state it is.
    #[serde(flatten)]
    pub of: StateOf,
    /// The state before. `null` if there was nothing.
    pub from: Option<SmolStr>,
    /// The state now. `null` if there is nothing any more.
    pub to: Option<SmolStr>,
    /// A stable code, if the state now needs a reason.
    pub reason: Option<SmolStr>,
    /// The same for people.
    pub message: Option<String>,
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the names that status has for these things")]
pub enum StateOf {
    /// The daemon. It is `ready` or not.
    Daemon,
    /// A server.
    Server { server: SmolStr },
    /// A parent.
    Parent { parent: SmolStr },
    /// A shim.
    Shim { shim: SmolStr },
    /// A NIC of a guest.
    Nic {
        #[serde(flatten)]
        guest: GuestKey,
        nic: SmolStr,
    },
    /// An address of a NIC.
    Address {
        #[serde(flatten)]
        guest: GuestKey,
        nic: SmolStr,
        address: IpAddr,
    },
    /// An address whose route stays although no server vouches for it.
    Unclaimed { address: IpAddr, shim: SmolStr },
    /// A problem. Its state is its severity.
    Problem { code: SmolStr, object: String },
}

impl fmt::Display for StateOf {
    /// As `status` calls it, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateOf::Daemon => f.write_str("daemon"),
            StateOf::Server { server } => write!(f, "server {server}"),
            StateOf::Parent { parent } => write!(f, "parent {parent}"),
            StateOf::Shim { shim } => write!(f, "shim {shim}"),
            StateOf::Nic { guest, nic } => write!(f, "{guest} {nic}"),
            StateOf::Address { guest, nic, address } => write!(f, "{guest} {nic} {address}"),
            StateOf::Unclaimed { address, shim } => write!(f, "{shim} {address}"),
            StateOf::Problem { object, .. } => f.write_str(object),
        }
    }
}

impl fmt::Display for StateChange {
    /// One line for people, without the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.of, &self.from, &self.to) {
            (StateOf::Problem { code, object }, _, Some(_)) => {
                return write!(f, "{object}: {} ({code})", self.message.as_deref().unwrap_or("a problem"));
            }
            (StateOf::Problem { code, object }, _, None) => return write!(f, "{object}: no longer {code}"),
            (of, Some(from), Some(to)) if from != to => write!(f, "{of}: {to}, was {from}")?,
            (of, _, Some(to)) => write!(f, "{of}: {to}")?,
            (of, Some(from), None) => write!(f, "{of}: gone, was {from}")?,
            (of, None, None) => write!(f, "{of}: gone")?,
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        match &self.reason {
            Some(code) => write!(f, " ({code})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerId;

    /// The contract of the stream.
    #[test]
    fn a_change_is_one_flat_object() {
        let guest = GuestKey::new(ServerId("lxd".into()), "default".into(), "web".into());
        let change = StateChange {
            id: 7,
            time: "2026-11-30T14:02:11Z".parse().unwrap(),
            of: StateOf::Address { guest, nic: "eth0".into(), address: "192.168.100.148".parse().unwrap() },
            from: None,
            to: Some("refused".into()),
            reason: Some("held".into()),
            message: Some("another guest has it".to_owned()),
        };
        let json = serde_json::json!({"id": 7, "time": "2026-11-30T14:02:11.000Z", "kind": "address", "server": "lxd",
            "project": "default", "name": "web", "nic": "eth0", "address": "192.168.100.148", "from": null,
            "to": "refused", "reason": "held", "message": "another guest has it"});
        assert_eq!(serde_json::to_value(&change).unwrap(), json);
        assert_eq!(serde_json::from_value::<StateChange>(json).unwrap(), change);
        assert_eq!(change.of.to_string(), "lxd:web eth0 192.168.100.148");
    }

    #[test]
    fn a_change_is_a_line_for_people() {
        let shim = || StateOf::Shim { shim: "mvs-eth0".into() };
        let problem = || StateOf::Problem { code: "parent-down".into(), object: "eth0".to_owned() };
        let change =
            |of, from: Option<&str>, to: Option<&str>, reason: Option<&str>, message: Option<&str>| {
                let word = |word: Option<&str>| word.map(SmolStr::from);
                let (from, to, reason) = (word(from), word(to), word(reason));
                let message = message.map(str::to_owned);
                StateChange { id: 1, time: Timestamp::default(), of, from, to, reason, message }.to_string()
            };
        assert_eq!(change(shim(), None, Some("up"), None, None), "shim mvs-eth0: up");
        assert_eq!(
            change(shim(), Some("up"), Some("failed"), Some("exists"), Some("it is not ours")),
            "shim mvs-eth0: failed, was up: it is not ours (exists)"
        );
        assert_eq!(change(shim(), Some("up"), None, None, None), "shim mvs-eth0: gone, was up");
        let down = change(problem(), None, Some("error"), None, Some("eth0 is down"));
        assert_eq!(down, "eth0: eth0 is down (parent-down)");
        assert_eq!(change(problem(), Some("error"), None, None, None), "eth0: no longer parent-down");
    }
}
