//! The table of all rules.

use std::fmt;
use std::net::IpAddr;

use super::case::{Case, Others};
use super::verdict::{Refusal, Verdict, Why};
use super::{address, lan, nic, others, ways};
use crate::model::Code;

/// A rule: when an address is refused, and with which code.
#[derive(Clone, Copy)]
pub struct AdmissionRule {
    /// The code of the refusal.
    pub code: Code,
    /// An existing route must go at once ([`Refusal::is_urgent`]).
    pub is_urgent: bool,
    /// The reason why the address is refused, if it is.
    check: fn(&Case<'_>) -> Option<Why>,
}

/// Every rule, in the order that counts: the first that refuses gives the verdict.
///
/// The order is that of certainty, so that a refusal stays the same while less certain facts come and go:
///
/// 1. the nature of the address, whatever its owner, because then nothing else matters;
/// 2. its state in the guest, because an address that the guest does not use yet needs no question;
/// 3. the configuration and the host's own addresses, because an address of the host must be refused as such,
///    wherever the host's routing leads just now;
/// 4. the way of the host's routing. `next-hop` comes before it, because a gateway is on-link. `route-taken`
///    comes before `routed-elsewhere`, because it has its own cure;
/// 5. its owner on the LAN, as far as is known. Only then is the LAN asked (`asking`), because no question is
///    worth asking about an address that is refused anyway. `limit` comes before the questions, so that a
///    guest cannot make us ask about more addresses than it may have;
/// 6. everything that a route needs: `route-taken`, `no-source`, and the guest's link;
/// 7. another NIC that has it (`held`), because only an address that is otherwise admitted can be contested.
///
/// The refusals for safety are urgent, because each moment sends the host's traffic to the wrong machine. The
/// others may be over in a moment, and a route that goes and comes back is a gap that somebody notices.
pub const RULES: &[AdmissionRule] = &[
    urgent(Code::NotGlobal, address::not_global),
    urgent(Code::Ipv6Off, address::ipv6_off),
    patient(Code::Tentative, address::tentative),
    urgent(Code::Duplicate, address::duplicate),
    urgent(Code::Denied, address::denied),
    urgent(Code::HostAddress, address::host_address),
    urgent(Code::ClusterMember, address::cluster_member),
    urgent(Code::NextHop, ways::next_hop),
    patient(Code::NoFamily, ways::no_family),
    patient(Code::OffLink, ways::off_link),
    urgent(Code::HostAddress, ways::local_route),
    patient(Code::RouteTaken, ways::route_taken_nearby),
    urgent(Code::RoutedElsewhere, ways::routed_elsewhere),
    // The parent's own network is away, perhaps because the host renews its lease.
    patient(Code::OtherUplink, ways::other_uplink),
    patient(Code::RoutedElsewhere, ways::routed_away),
    urgent(Code::NetworkAddress, address::network_address),
    urgent(Code::BroadcastAddress, address::broadcast_address),
    urgent(Code::HeldOnLan, lan::held_on_lan),
    urgent(Code::Limit, others::limit),
    urgent(Code::Asking, lan::cannot_be_asked),
    urgent(Code::Asking, lan::is_asked_first),
    patient(Code::RouteTaken, ways::route_taken),
    NO_SOURCE,
    patient(Code::LinkDown, nic::link_down),
    patient(Code::MasterMac, nic::master_mac),
    HELD,
];

const NO_SOURCE: AdmissionRule = patient(Code::NoSource, ways::no_source);
const HELD: AdmissionRule = urgent(Code::Held, others::held);

const fn urgent(code: Code, check: fn(&Case<'_>) -> Option<Why>) -> AdmissionRule {
    AdmissionRule { code, is_urgent: true, check }
}

const fn patient(code: Code, check: fn(&Case<'_>) -> Option<Why>) -> AdmissionRule {
    AdmissionRule { code, is_urgent: false, check }
}

impl AdmissionRule {
    /// The refusal of an address, if this rule refuses it.
    pub fn refusal(&self, case: &Case<'_>) -> Option<Refusal> {
        (self.check)(case).map(|why| self.refuse(why))
    }

    fn refuse(&self, Why { message, hint }: Why) -> Refusal {
        Refusal { code: self.code, is_urgent: self.is_urgent, message, hint }
    }
}

impl fmt::Debug for AdmissionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())
    }
}

/// The verdict on an address: the first refusal, if there is one.
pub fn admit(case: &Case<'_>) -> Verdict {
    match (RULES.iter().find_map(|rule| rule.refusal(case)), case.source()) {
        (Some(refusal), _) => Verdict::Refused(refusal),
        (None, Some(source)) => Verdict::Admitted { source },
        (None, None) => Verdict::Refused(NO_SOURCE.refuse(ways::source_is_missing(case))),
    }
}

/// The answers of all rules about an address, in their order.
pub fn findings(case: &Case<'_>) -> impl Iterator<Item = (&'static AdmissionRule, Option<Refusal>)> {
    RULES.iter().map(|rule| (rule, rule.refusal(case)))
}

/// The refusal of an address that is otherwise admitted and left to another NIC.
pub(in crate::reconcile) fn held(others: &Others, address: IpAddr) -> Option<Refusal> {
    others::why_held(others, address).map(|why| HELD.refuse(why))
}
