//! LXD and Incus, and their differences.

use std::fmt;

/// The kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// LXD, at `/var/lib/lxd`, with the client `lxc`.
    Lxd,
    /// Incus, at `/var/lib/incus`, with the client `incus`.
    Incus,
}

impl Kind {
    /// The path of its socket in the machine: the default one.
    #[must_use]
    pub fn socket(self) -> &'static str {
        match self {
            Self::Lxd => "/var/lib/lxd/unix.socket",
            Self::Incus => "/var/lib/incus/unix.socket",
        }
    }

    /// The unit that runs its daemon.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Lxd => "lxd.service",
            Self::Incus => "incus.service",
        }
    }

    /// The name of its command-line client.
    #[must_use]
    pub fn client(self) -> &'static str {
        match self {
            Self::Lxd => "lxc",
            Self::Incus => "incus",
        }
    }

    /// As in Debian's service files.
    pub(crate) fn daemon(self) -> &'static [&'static str] {
        match self {
            Self::Lxd => &["/usr/bin/lxd", "--group", "lxd", "--logfile", "/var/log/lxd/lxd.log"],
            Self::Incus => &[
                "/usr/libexec/incus/incusd",
                "--group",
                "incus-admin",
                "--logfile",
                "/var/log/incus/incus.log",
            ],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lxd => "LXD",
            Self::Incus => "Incus",
        })
    }
}
