//! Everything that the daemon knows and that no other check tells.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The codes that no other check tells. A test compares them with the catalogue.
pub(super) const CODES: &[Code] = &[
    Code::MoreFailures,
    Code::InvalidOptOut,
    Code::Overhears,
    Code::UndoneByOthers,
    Code::KernelUnread,
    Code::LinkUnreadable,
    Code::GuestLeftOut,
    Code::NameTaken,
    Code::Permission,
    Code::MacTaken,
    Code::Exists,
    Code::LinkGone,
    Code::KernelRefused,
    Code::Limit,
    Code::LinkDown,
    Code::MasterMac,
];

/// The check.
pub(super) const CHECK: Check = Check { codes: CODES, good: "the daemon knows of nothing else", find };

/// A newer daemon may have codes that this program does not know.
fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(CODES)?;
    for problem in survey.problems()?.iter().filter(|problem| Code::named(&problem.code).is_none()) {
        let sentence = format!("{}: {} ({})", problem.object, problem.message, problem.code);
        found.push(Finding::new(Code::KernelRefused, sentence).cured_by(&problem.hint).at(problem.severity));
    }
    Ok(found)
}
