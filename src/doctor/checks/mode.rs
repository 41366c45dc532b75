//! NICs in modes that do not reach the host.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[Code::Mode, Code::ParentPassthru];

/// The check.
pub(super) const CHECK: Check =
    Check { codes: CODES, good: "every NIC is in mode bridge", find: |survey| survey.told(CODES) };
