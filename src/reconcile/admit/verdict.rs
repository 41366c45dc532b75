//! The verdict on one address of one NIC.

use std::net::IpAddr;

use crate::model::Code;

/// A refusal: why an address is not routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its code in the catalogue.
    pub code: Code,
    /// True where an existing route must go at once. Other refusals may be over in a moment: a renewal of the
    /// host's own lease, duplicate address detection.
    pub is_urgent: bool,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// What to do, where this is a problem of the host rather than of the guest.
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

    /// A refusal.
    pub fn refused(code: Code, message: impl Into<String>) -> Verdict {
        Verdict::Refused(Refusal { code, is_urgent: is_urgent(code), message: message.into(), hint: None })
    }
}

fn is_urgent(code: Code) -> bool {
    !matches!(
        code,
        Code::OffLink
            | Code::NoSource
            | Code::Tentative
            | Code::MasterMac
            | Code::LinkDown
            | Code::RouteTaken
    )
}
