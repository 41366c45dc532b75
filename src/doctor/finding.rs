//! A finding, and the reason why a check is not made.

use serde::Serialize;

use crate::model::status::Problem;
use crate::model::{Code, Severity};

/// Something on this host that keeps guests and host apart, or may do so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Its code in the catalogue.
    #[serde(serialize_with = "as_name")]
    pub code: Code,
    /// How urgent it is. Less than the code's own severity where less is at stake.
    pub severity: Severity,
    /// The fault, in a sentence.
    pub sentence: String,
    /// What was seen, a line each.
    pub evidence: Vec<String>,
    /// What to do, a line each: commands where possible.
    pub cure: Vec<String>,
}

impl Finding {
    /// A finding with that sentence.
    pub fn new(code: Code, sentence: impl Into<String>) -> Finding {
        let (evidence, cure) = (Vec::new(), Vec::new());
        Finding { code, severity: code.severity(), sentence: sentence.into(), evidence, cure }
    }

    /// Adds lines of evidence.
    pub fn seen(mut self, lines: impl IntoIterator<Item = String>) -> Finding {
        self.evidence.extend(lines);
        self
    }

    /// Adds a line of its cure.
    pub fn cured_by(mut self, line: impl Into<String>) -> Finding {
        self.cure.push(line.into());
        self
    }

    /// Changes its severity.
    pub fn at(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// A problem of the daemon, or of a decision from scratch.
    pub fn of(problem: &Problem) -> Option<Finding> {
        let Problem { code, severity, object, message, hint, since } = problem;
        let code = Code::named(code)?;
        let since = since.map(|since| format!("since {since}"));
        Some(Finding::new(code, format!("{object}: {message}")).seen(since).cured_by(hint).at(*severity))
    }
}

fn as_name<S: serde::Serializer>(code: &Code, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(code)
}

/// The reason why a check is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What could not be read, and why.
    pub why: String,
    /// Root could have read it.
    pub needs_root: bool,
}

impl Gap {
    /// Something that root could not have read either.
    pub fn new(why: impl Into<String>) -> Gap {
        Gap { why: why.into(), needs_root: false }
    }

    /// Something that only root can read.
    pub fn for_root(why: impl Into<String>) -> Gap {
        Gap { why: why.into(), needs_root: true }
    }
}
