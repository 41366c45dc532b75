//! The names of servers, guests and NICs.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A server's short, stable name in output: `lxd`, `lxd-snap`, `incus`, or the path of a configured socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ServerId(pub SmolStr);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one guest on this host. Copies share one place in memory, because many maps hold them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "GuestParts", into = "GuestParts")]
pub struct GuestKey(Arc<GuestParts>);

/// The parts of a guest's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GuestParts {
    /// The server that it belongs to.
    pub server: ServerId,
    /// Its project.
    pub project: SmolStr,
    /// Its name, unique in the project.
    pub name: SmolStr,
}

impl GuestKey {
    /// The project that is not named.
    pub const DEFAULT_PROJECT: &str = "default";

    /// The key of the guest of this name in that project of that server.
    pub fn new(server: ServerId, project: SmolStr, name: SmolStr) -> GuestKey {
        GuestKey(Arc::new(GuestParts { server, project, name }))
    }

    /// Whether somebody may call a guest that is shown as `lxd:shop/web` by this name: `web`, `shop/web`,
    /// `lxd:web` in the default project, or `lxd:shop/web`.
    pub fn is_called(label: &str, name: &str) -> bool {
        let (server, bare) = label.split_once(':').unwrap_or(("", label));
        let (project, own) = bare.split_once('/').unwrap_or((GuestKey::DEFAULT_PROJECT, bare));
        let of_server = name.strip_prefix(server).and_then(|rest| rest.strip_prefix(':'));
        let within = of_server.unwrap_or(name);
        match within.split_once('/') {
            Some(named) => named == (project, own),
            None => within == own && (of_server.is_none() || project == GuestKey::DEFAULT_PROJECT),
        }
    }
}

impl From<GuestParts> for GuestKey {
    fn from(parts: GuestParts) -> GuestKey {
        GuestKey(Arc::new(parts))
    }
}

impl From<GuestKey> for GuestParts {
    fn from(key: GuestKey) -> GuestParts {
        (*key.0).clone()
    }
}

impl Deref for GuestKey {
    type Target = GuestParts;

    fn deref(&self) -> &GuestParts {
        &self.0
    }
}

impl fmt::Display for GuestKey {
    /// `lxd:web`, or `lxd:shop/web` outside the default project.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.project.as_str() {
            GuestKey::DEFAULT_PROJECT => write!(f, "{}:{}", self.server, self.name),
            project => write!(f, "{}:{}/{}", self.server, project, self.name),
        }
    }
}

/// Names one network device of one guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NicKey {
    /// The guest.
    pub guest: GuestKey,
    /// The name of the device in the guest's configuration, such as `eth0`. For a guest whose NICs no server
    /// lists, the name of the link in the guest.
    pub nic: SmolStr,
}

impl fmt::Display for NicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.guest, self.nic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_may_be_called_by_more_or_less_of_its_name() {
        for name in ["web", "default/web", "lxd:web", "lxd:default/web"] {
            assert!(GuestKey::is_called("lxd:web", name), "{name}");
        }
        for name in ["web", "shop/web", "lxd:shop/web"] {
            assert!(GuestKey::is_called("lxd:shop/web", name), "{name}");
        }
        for name in ["", "we", "lxd:web", "incus:web", "lxd", "default/web", "lxd:shop", "shop/"] {
            assert!(!GuestKey::is_called("lxd:shop/web", name), "{name}");
        }
    }
}
