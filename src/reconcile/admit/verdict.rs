//! The verdict on one address of one NIC.

use std::fmt;
use std::net::IpAddr;

/// Why an address is refused. The codes are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described by the sentence that `admit` makes of it")]
pub enum Reason {
    NotGlobal,
    Ipv6Off,
    Tentative,
    Duplicate,
    Denied,
    HostAddress,
    ClusterMember,
    NextHop,
    OffLink,
    RoutedElsewhere,
    RoutedAway,
    NetworkAddress,
    BroadcastAddress,
    HeldOnLan,
    Asking,
    NoSource,
    MasterMac,
    LinkDown,
    Limit,
    Held,
    RouteTaken,
}

impl Reason {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Reason::NotGlobal => "not-global",
            Reason::Ipv6Off => "ipv6-off",
            Reason::Tentative => "tentative",
            Reason::Duplicate => "duplicate",
            Reason::Denied => "denied",
            Reason::HostAddress => "host-address",
            Reason::ClusterMember => "cluster-member",
            Reason::NextHop => "next-hop",
            Reason::OffLink => "off-link",
            // They differ in how fast a standing route must go.
            Reason::RoutedElsewhere | Reason::RoutedAway => "routed-elsewhere",
            Reason::NetworkAddress => "network-address",
            Reason::BroadcastAddress => "broadcast-address",
            Reason::HeldOnLan => "held-on-lan",
            Reason::Asking => "asking",
            Reason::NoSource => "no-source",
            Reason::MasterMac => "master-mac",
            Reason::LinkDown => "link-down",
            Reason::Limit => "limit",
            Reason::Held => "held",
            Reason::RouteTaken => "route-taken",
        }
    }

    /// True where a standing route must go at once. The others may be over in a moment: a renewal of the
    /// host's own lease, duplicate address detection.
    pub fn is_urgent(self) -> bool {
        !matches!(
            self,
            Reason::OffLink
                | Reason::RoutedAway
                | Reason::NoSource
                | Reason::Tentative
                | Reason::MasterMac
                | Reason::LinkDown
                | Reason::RouteTaken
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A refusal, with its reason and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable reason.
    pub reason: Reason,
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
    pub fn refused(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::Refused(Refusal { reason, message: message.into(), hint: None })
    }
}
