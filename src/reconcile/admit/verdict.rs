//! The verdict on one address of one NIC.

use std::net::IpAddr;

use crate::model::Code;

/// A refusal: why an address is not routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its code in the catalogue.
    pub code: Code,
    /// True if an existing route must go at once. Other refusals may be over in a moment: a renewal of the
    /// host's own lease, duplicate address detection.
    pub is_urgent: bool,
    /// The fault and its cure, for people.
    pub message: String,
    /// The cure, if this is a problem of the host rather than of the guest.
    pub hint: Option<String>,
}

/// The verdict on one address of one NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is routed, from this address of the host.
    Admitted {
        /// The preferred source.
        source: IpAddr,
    },
    /// It is not routed.
    Refused(Refusal),
}

impl Verdict {
    /// The preferred source, if it is admitted.
    pub fn source(&self) -> Option<IpAddr> {
        match self {
            Verdict::Admitted { source } => Some(*source),
            Verdict::Refused(_) => None,
        }
    }

    /// The code of the refusal, if it is refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Verdict::Admitted { .. } => None,
            Verdict::Refused(refusal) => Some(refusal.code),
        }
    }
}

/// The words of a refusal, from which a rule makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Why {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Why {
    /// A sentence that says everything.
    pub(super) fn of(message: impl Into<String>) -> Why {
        Why { message: message.into(), hint: None }
    }
}
