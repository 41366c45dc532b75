//! Parents that are not there.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[Code::ParentAbsent, Code::NotSeen];

/// The check.
pub(super) const CHECK: Check =
    Check { codes: CODES, good: "every parent that is named exists", find: |survey| survey.told(CODES) };
