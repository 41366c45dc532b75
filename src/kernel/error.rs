//! The errors that leave this room, in words for people.

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
    /// What to do, if that is known.
    pub hint: Option<String>,
    /// The kind of failure, for callers that react to it.
    pub code: ErrorCode,
}

/// The kinds of failures that callers tell apart.
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
