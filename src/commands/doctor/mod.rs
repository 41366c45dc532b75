//! `doctor`: reads the host once, makes every check, and shows what was found. Needs no daemon.
//!
//! | file | contents |
//! | --- | --- |
//! | `gather` | everything that is read of the host, a file for each source |
//! | `shown` | the findings, for people |
//! | `json` | the findings, for programs |
//! | `bug_report` | one file for a bug report |

mod bug_report;
mod gather;
mod json;
mod shown;

use std::path::Path;
use std::time::Instant;

pub(in crate::commands) use self::gather::firewall;
use super::output::{Look, print};
use super::{FAILED, Failure, GOOD, block_on};
use crate::cli::{DoctorArgs, Files};
use crate::doctor::{Examined, count, examine};
use crate::model::Severity;

/// Looks at the host.
pub fn doctor(files: &Files, arguments: &DoctorArgs) -> Result<u8, Failure> {
    let start = Instant::now();
    let survey = block_on(gather::survey(files, Path::new("/")))?;
    let outcomes = examine(&survey);
    let time = start.elapsed();
    match (&arguments.report, arguments.json) {
        (Some(file), _) => bug_report::write(file, &survey, &outcomes, arguments.redact)?,
        (None, true) => print(&json::rendered(&survey, &outcomes)?)?,
        (None, false) => print(&shown::rendered(&survey, &outcomes, time, arguments.all, Look::of_stdout()))?,
    }
    Ok(verdict(&outcomes))
}

/// Good if there is no fault, and no check lacked root's rights.
fn verdict(outcomes: &[Examined]) -> u8 {
    let lacks_root = outcomes.iter().any(|outcome| outcome.found.as_ref().is_err_and(|gap| gap.needs_root));
    if count(outcomes, Severity::Error) > 0 || lacks_root { FAILED } else { GOOD }
}

#[cfg(test)]
mod tests;
