//! `doctor`: what on this host keeps guests and host apart, and what to do. Pure: a [`Survey`] has everything
//! that was read of the host, once, and each check looks at it alone.
//!
//! A check never says "good" about something that could not be read: it is then not made ([`Gap`]). Problems
//! that the daemon knows are not decided twice: a check takes them from its status, or, if no daemon answers,
//! from a decision from scratch.
//!
//! | module | contents |
//! | --- | --- |
//! | [`survey`] | everything that was read of the host |
//! | [`finding`] | a finding, and the reason why a check is not made |
//! | `check` | a check |
//! | [`firewall`] | whether the host's firewall drops what guests send |
//! | `checks` | one check a file, and the table of all of them |
//! | [`redact`] | a text without the addresses in it |

mod check;
mod checks;
pub mod finding;
pub mod firewall;
pub mod redact;
pub mod survey;

use self::finding::{Finding, Gap};
use self::survey::Survey;
use crate::model::{Code, Severity};

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    /// The first of the codes that it may find, which stands for the check.
    pub code: Code,
    /// What is true if nothing was found, in a sentence.
    pub good: &'static str,
    /// What was found, or why the check was not made.
    pub found: Result<Vec<Finding>, Gap>,
}

/// Makes every check, in the order in which people meet their faults.
pub fn examine(survey: &Survey) -> Vec<Examined> {
    let outcome = |check: &check::Check| Examined {
        code: check.codes[0],
        good: check.good,
        found: (check.find)(survey),
    };
    checks::ALL.iter().map(outcome).collect()
}

/// Number of findings that are so grave.
pub fn count(outcomes: &[Examined], severity: Severity) -> usize {
    let found = outcomes.iter().filter_map(|outcome| outcome.found.as_ref().ok()).flatten();
    found.filter(|finding| finding.severity == severity).count()
}
