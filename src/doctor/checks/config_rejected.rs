//! Whether the configuration can be read.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check =
    Check { codes: &[Code::ConfigRejected], good: "the configuration has no fault", find };

fn find(survey: &Survey) -> Findings {
    let Some(fault) = &survey.config_fault else {
        return survey.told(&[Code::ConfigRejected]).or(Ok(vec![]));
    };
    let finding =
        Finding::new(Code::ConfigRejected, "the configuration is faulty, so no daemon can start with it");
    let finding = finding.seen(fault.lines().map(|line| line.trim().to_owned()));
    Ok(vec![finding.cured_by("correct it: macvlan-shim config check")])
}
