//! Sysctls of the host that no sysctl of a shim undoes.

use crate::doctor::check::Check;
use crate::model::Code;

const CODES: &[Code] =
    &[Code::ArpIgnore, Code::RpFilter, Code::RouteLocalnet, Code::ProxyArp, Code::SysctlsUnavailable];

/// The check.
pub(super) const CHECK: Check = Check {
    codes: CODES,
    good: "no sysctl of the host silences its shims or opens them",
    find: |survey| survey.shown(CODES),
};
