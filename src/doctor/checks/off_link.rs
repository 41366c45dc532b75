//! Addresses in networks that the host does not have.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] =
    &[Code::OffLink, Code::RoutedElsewhere, Code::NetworkAddress, Code::BroadcastAddress, Code::NoSource];

/// The check.
pub(super) const CHECK: Check = Check {
    codes: CODES,
    good: "every address of a guest is in a network of its parent",
    find: |survey| survey.told(CODES),
};
