//! The one catalogue of codes: every reason, obstacle, failure and problem that `status` can show.
//!
//! A code is part of the contract: scripts rely on its name, so a name never changes. The message that
//! `status` shows beside it is made for the case at hand. The catalogue has the general meaning of the code.
//! `packaging/docs/states-and-codes.md` has the same rows, and a test compares them.

mod catalogue;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::catalogue::Code;

/// How urgent a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nobody need act: it is wanted, or passes by itself, and the sentence explains it.
    Note,
    /// Somebody should look: a part is not served, or a protection is missing.
    Warning,
    /// Somebody must act: something that should work does not, or guests can do harm.
    Error,
}

impl Severity {
    /// The word for it in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// The subject of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A NIC that is left out.
    Unselected,
    /// A NIC that cannot be served.
    Unsupported,
    /// A NIC without an address.
    Waiting,
    /// An address that is not admitted.
    Refused,
    /// An admitted address that is not routed.
    Failed,
    /// A server, the kernel or the configuration.
    Problem,
    /// A parent on which no shim can stand.
    Parent,
    /// An operation that the kernel refused.
    Operation,
    /// Something that only `doctor` looks for.
    Doctor,
}

/// A row of the catalogue.
struct Entry {
    name: &'static str,
    topic: Topic,
    severity: Severity,
    meaning: &'static str,
    cure: &'static str,
}

impl Code {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// The code of that name.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// Whether a reason, by its name, is nobody's fault.
    pub fn is_note(reason: Option<&str>) -> bool {
        reason.and_then(Code::named).is_some_and(|code| code.severity() == Severity::Note)
    }

    /// Its subject.
    pub const fn topic(self) -> Topic {
        self.entry().topic
    }

    /// How urgent it is.
    pub const fn severity(self) -> Severity {
        self.entry().severity
    }

    /// Its meaning, in a sentence. Words in backquotes are to be typed or read as they are.
    pub const fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// The cure: an instruction to the operator.
    pub const fn cure(self) -> &'static str {
        self.entry().cure
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
