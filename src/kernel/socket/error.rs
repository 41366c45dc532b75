//! The reason why a request to the kernel failed.

use nix::errno::Errno;

use super::wire::MalformedError;

/// One request to the kernel failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::kernel) enum RequestError {
    /// The kernel refused.
    #[error("{}{}", .errno.desc(), said(.words))]
    Refused {
        /// Its error number.
        errno: Errno,
        /// Its sentence (extended ack), often empty.
        words: String,
    },
    /// There was no answer, or not a complete one.
    #[error("{0}")]
    Broken(String),
    /// The answer makes no sense.
    #[error("{0}")]
    Malformed(MalformedError),
    /// The answer has this many bytes, which is more than there is room for.
    #[error("it takes {0} bytes, more than any object needs")]
    Oversized(usize),
}

impl RequestError {
    /// The kernel's error number, if it answered with one.
    pub(in crate::kernel) fn errno(&self) -> Option<Errno> {
        match self {
            RequestError::Refused { errno, .. } => Some(*errno),
            RequestError::Broken(_) | RequestError::Malformed(_) | RequestError::Oversized(_) => None,
        }
    }

    /// Whether the error is due to the one object that was asked for: it is larger than the kernel or we can
    /// handle, or its message makes no sense. Other objects can be read.
    pub(in crate::kernel) fn is_of_object(&self) -> bool {
        match self {
            RequestError::Refused { errno, .. } => {
                matches!(errno, Errno::ENOBUFS | Errno::ENOMEM | Errno::EMSGSIZE)
            }
            RequestError::Malformed(_) | RequestError::Oversized(_) => true,
            RequestError::Broken(_) => false,
        }
    }
}

impl From<MalformedError> for RequestError {
    fn from(malformed: MalformedError) -> RequestError {
        RequestError::Malformed(malformed)
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" (the kernel says: {words})") }
}
