//! The findings, for programs.

use serde::Serialize;

use crate::commands::Failure;
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::doctor::{Examined, count};
use crate::model::Severity;

/// Everything, as `--json` shows it.
#[derive(Serialize)]
struct DoctorView<'a> {
    version: &'static str,
    host: &'a str,
    system: &'a str,
    kernel: &'a str,
    faults: usize,
    warnings: usize,
    notes: usize,
    checks: Vec<CheckView<'a>>,
}

/// A check. `not_made` says why it was not made.
#[derive(Serialize)]
struct CheckView<'a> {
    check: &'static str,
    good: bool,
    not_made: Option<&'a str>,
    findings: &'a [Finding],
}

/// The text.
pub(super) fn rendered(survey: &Survey, outcomes: &[Examined]) -> Result<String, Failure> {
    let view = DoctorView {
        version: env!("CARGO_PKG_VERSION"),
        host: &survey.name,
        system: &survey.system,
        kernel: &survey.release,
        faults: count(outcomes, Severity::Error),
        warnings: count(outcomes, Severity::Warning),
        notes: count(outcomes, Severity::Note),
        checks: outcomes.iter().map(check).collect(),
    };
    Ok(serde_json::to_string_pretty(&view)? + "\n")
}

fn check(outcome: &Examined) -> CheckView<'_> {
    let (not_made, findings) = match &outcome.found {
        Ok(found) => (None, found.as_slice()),
        Err(gap) => (Some(gap.why.as_str()), &[][..]),
    };
    let good = not_made.is_none() && findings.is_empty();
    CheckView { check: outcome.code.as_str(), good, not_made, findings }
}
