//! The errors that leave this room, in words for people.

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
