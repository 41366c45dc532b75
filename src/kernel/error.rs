//! The errors that leave this room, in words for people.

use std::fmt;

use nix::errno::Errno;

use crate::model::Code;

/// The kernel cannot be followed at all.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct KernelError {
    /// The failure, with the kernel's words.
    pub message: String,
    /// The cure.
    pub hint: String,
}

/// One operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpError {
    /// The failure, with the kernel's words.
    pub message: String,
    /// The cure, if it is known.
    pub hint: Option<String>,
    /// Its code in the catalogue.
    pub code: Code,
}

/// No socket to ask with.
pub(super) fn speechless(error: std::io::Error) -> KernelError {
    KernelError {
        message: format!("no netlink socket for requests: {error}"),
        hint: "Linux 5.0 or later is needed".to_owned(),
    }
}

/// No socket to hear with.
pub(super) fn deaf(error: std::io::Error) -> KernelError {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "run it as root, or with CAP_NET_BROADCAST and CAP_NET_ADMIN in the host's user namespace"
        }
        _ => "Linux 5.0 or later is needed",
    };
    KernelError {
        message: format!("the events of guests' network namespaces cannot be heard: {error}"),
        hint: hint.to_owned(),
    }
}

/// The namespaces of guests cannot be read.
pub(super) fn powerless(errno: Option<Errno>, error: &dyn fmt::Display) -> KernelError {
    let hint = match errno {
        Some(Errno::EPERM | Errno::EACCES) => {
            "run it as root, or with CAP_NET_ADMIN in the host's user namespace"
        }
        Some(_) => "Linux 5.0 or later is needed",
        None => "try again",
    };
    KernelError {
        message: format!("the network namespaces of guests cannot be read: {error}"),
        hint: hint.to_owned(),
    }
}
