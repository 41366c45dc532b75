//! Whether the shims have their filters.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] = &[Code::FilterMissing, Code::FilterPartial, Code::FilterForeign, Code::Filtered];

/// The check.
pub(super) const CHECK: Check = Check {
    codes: CODES,
    good: "the shims have their filters, or can have them",
    find: |survey| survey.told(CODES),
};
