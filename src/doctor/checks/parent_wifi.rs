//! Parents that cannot carry macvlan at all.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[Code::ParentWifi, Code::ParentNotEthernet];

/// The check.
pub(super) const CHECK: Check = Check {
    codes: CODES,
    good: "no guest is on Wi-Fi, or on a link without an Ethernet address",
    find: |survey| survey.told(CODES),
};
