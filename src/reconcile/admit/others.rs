//! Rules about the part that the other addresses of the NIC, and other NICs, leave.

use std::net::IpAddr;

use super::case::{Case, Others};
use super::verdict::Why;

/// Addresses that the LAN is being asked about count too.
pub(super) fn limit(case: &Case<'_>) -> Option<Why> {
    let max = case.facts.config.policy.max_addresses;
    let message = || format!("this NIC has {max} addresses routed already (policy.max_addresses)");
    (case.others == Others::FillTheNic).then(|| Why::of(message()))
}

pub(super) fn held(case: &Case<'_>) -> Option<Why> {
    why_held(&case.others, case.address)
}

/// Why an address is left to another NIC, if it is.
pub(super) fn why_held(others: &Others, address: IpAddr) -> Option<Why> {
    match others {
        Others::Leave | Others::FillTheNic => None,
        Others::Hold { holder } => Some(Why::of(format!("{holder} holds {address}"))),
        Others::MayComeBack { had, wait } => Some(Why::of(format!(
            "{had} had {address} and this NIC claimed it too; {had} may come back, so the address is given to \
             another only {wait} s after it was lost"
        ))),
    }
}
