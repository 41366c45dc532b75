//! Addresses that guests claim and must not have.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[
    Code::AddressConflict,
    Code::Held,
    Code::HeldOnLan,
    Code::NextHop,
    Code::HostAddress,
    Code::ClusterMember,
    Code::Duplicate,
];

/// The check.
pub(super) const CHECK: Check = Check {
    codes: CODES,
    good: "no guest claims an address of somebody else",
    find: |survey| survey.told(CODES),
};
