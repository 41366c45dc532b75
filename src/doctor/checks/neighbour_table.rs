//! The kernel's neighbour tables, which all namespaces share.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[Code::NeighbourTableFull];

/// The check.
pub(super) const CHECK: Check = Check {
    codes: CODES,
    good: "the kernel's neighbour tables have room",
    find: |survey| survey.told(CODES),
};
