//! Whether there is a server at all.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[Code::NoServer];

/// The check.
pub(super) const CHECK: Check =
    Check { codes: CODES, good: "a server was found, or none is needed", find: |survey| survey.told(CODES) };
