//! What can go wrong between us and the kernel, in words for people.

use nix::errno::Errno;

use super::wire::Malformed;

/// The kernel cannot be followed at all.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct KernelError {
    /// What failed, with the kernel's words.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// One operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpError {
    /// What failed, with the kernel's words.
    pub message: String,
    /// What to do, where we know.
    pub hint: Option<String>,
    /// Which kind of failure, for those who react to it.
    pub code: ErrorCode,
}

/// The failures that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// A link that is not ours has the shim's name.
    NameTaken,
    /// Another child of the parent has the shim's MAC.
    MacTaken,
    /// The parent can take no child, or none in bridge mode.
    ParentBusy,
    /// A capability is missing, or `/proc/sys` is read-only.
    Permission,
    /// An object that is not ours stands where ours should.
    Exists,
    /// Anything else.
    Other,
}

impl ErrorCode {
    /// The stable code that `status` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::NameTaken => "name-taken",
            ErrorCode::MacTaken => "mac-taken",
            ErrorCode::ParentBusy => "parent-busy",
            ErrorCode::Permission => "permission",
            ErrorCode::Exists => "exists",
            ErrorCode::Other => "kernel-refused",
        }
    }
}

/// One request to the kernel failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The kernel said no.
    #[error("{}{}", .errno.desc(), said(.words))]
    Refused {
        /// Its error number.
        errno: Errno,
        /// Its sentence (extended ack), often empty.
        words: String,
    },
    /// The answer did not come, or not whole.
    #[error("{0}")]
    Broken(String),
    /// The answer makes no sense.
    #[error("{0}")]
    Malformed(Malformed),
    /// The answer has so many bytes, more than there is room for.
    #[error("it takes {0} bytes, more than any object needs")]
    Oversized(usize),
}

impl Fault {
    /// The kernel's error number, if it answered with one.
    pub(super) fn errno(&self) -> Option<Errno> {
        match self {
            Fault::Refused { errno, .. } => Some(*errno),
            Fault::Broken(_) | Fault::Malformed(_) | Fault::Oversized(_) => None,
        }
    }

    /// Whether the fault lies with the one object that was asked for: it is larger than the kernel or we can handle, or
    /// what the kernel says of it makes no sense. Other objects can be read.
    pub(super) fn is_of_object(&self) -> bool {
        match self {
            Fault::Refused { errno, .. } => {
                matches!(errno, Errno::ENOBUFS | Errno::ENOMEM | Errno::EMSGSIZE)
            }
            Fault::Malformed(_) | Fault::Oversized(_) => true,
            Fault::Broken(_) => false,
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Fault {
        Fault::Malformed(malformed)
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" (the kernel says: {words})") }
}
