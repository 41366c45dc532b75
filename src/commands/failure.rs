//! Failures of commands, and how they are shown.

use std::fmt;
use std::io;

use super::{FAILED, GOOD, WRONG_USAGE};
use crate::config::ConfigError;
use crate::daemon::control::BindError;
use crate::daemon::lock::LockError;
use crate::kernel::KernelError;
use crate::model::{names, text};

/// A failure of a command. Printed as
///
/// ```text
/// macvlan-shim: cannot make the control socket /run/x/control.sock
///   Permission denied (os error 13)
///   hint: run it as root, or let its user write to that folder
/// ```
#[derive(Debug, PartialEq)]
pub struct Failure {
    /// The exit status.
    pub exit: u8,
    /// The operation that failed. It may have several lines, and is empty if nobody is left to tell.
    pub message: String,
    /// The causes, the nearest first.
    pub causes: Vec<String>,
    /// The cure.
    pub hint: Option<String>,
}

impl Failure {
    /// A failed operation.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { exit: FAILED, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// A failed operation and its cause.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Failure {
        let failure = Failure::new(error.to_string());
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }

    /// Adds a cause, and its causes.
    pub fn because(mut self, cause: &(dyn std::error::Error + 'static)) -> Failure {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many errors repeat their source's text in their own.
            if !self.causes.last().is_some_and(|last| last.ends_with(&text)) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit status.
    pub fn exit(mut self, exit: u8) -> Failure {
        self.exit = exit;
        self
    }

    /// Prints it on stderr.
    pub fn print(&self) {
        use io::Write;
        if !self.message.is_empty() {
            // If stderr is closed, nobody is left to tell.
            let _ = writeln!(io::stderr(), "{}: {}", names::PROGRAM, printable(&self.to_string()));
        }
    }

    /// Stdout could not be written. A reader that went away (`status | head`) has everything that it wanted,
    /// so that is no failure.
    pub(super) fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new("").exit(GOOD),
            _ => Failure::new("cannot write to standard output").because(error),
        }
    }
}

/// Causes have their own lines.
fn printable(text: &str) -> String {
    text.lines().map(text::visible).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, "\n  {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    /// An error of ours keeps its exit status and hint when it comes as one of many kinds.
    fn from(error: anyhow::Error) -> Failure {
        let known = error.downcast::<ConfigError>().map(Failure::from);
        let known = known.or_else(|error| error.downcast::<LockError>().map(Failure::from));
        let known = known.or_else(|error| error.downcast::<BindError>().map(Failure::from));
        let known = known.or_else(|error| error.downcast::<KernelError>().map(Failure::from));
        known.unwrap_or_else(|error| Failure::from_error(error.as_ref()))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from_error(&error)
    }
}

impl From<KernelError> for Failure {
    fn from(KernelError { message, hint }: KernelError) -> Failure {
        Failure::new(message).hint(hint)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(error.to_string()).exit(WRONG_USAGE)
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Failure {
        let failure = Failure::from_error(&error);
        match error {
            LockError::Held(_) => failure.hint(
                "\"macvlan-shim status\" shows its state; \"systemctl stop macvlan-shimd\", or SIGTERM, ends it, \
                 and everything it made stays",
            ),
            LockError::Io { source, .. } => failure.hint_for_file(&source),
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Failure {
        let failure = Failure::from_error(&error);
        match error {
            BindError::NoSocket(_) => failure.hint("remove it, or name another path with --socket"),
            BindError::InUse(_) => failure.hint(
                "a daemon of another network namespace has it; name another path for this one with --socket",
            ),
            BindError::Io { source, .. } => failure.hint_for_file(&source),
        }
    }
}

impl Failure {
    fn hint_for_file(self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                self.hint("run it as root, or let its user write to that folder")
            }
            io::ErrorKind::StorageFull => {
                self.hint("make room there (df shows the space, df -i the number of files); the unit retries every second")
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn denied() -> io::Error {
        io::Error::from_raw_os_error(13)
    }

    #[test]
    fn causes_and_hint_stand_below_the_message() {
        let error = BindError::Io { path: "/run/x/control.sock".into(), source: denied() };
        let failure = Failure::from(error);
        let expected = "\
cannot make the control socket /run/x/control.sock
  Permission denied (os error 13)
  hint: run it as root, or let its user write to that folder";
        assert_eq!(failure.to_string(), expected);
        assert_eq!(failure.exit, FAILED);
    }

    #[test]
    fn every_cause_of_a_chain_is_shown_once() {
        let error =
            Err::<(), _>(denied()).context("cannot read the links").context("cannot plan").unwrap_err();
        let expected = "cannot plan\n  cannot read the links\n  Permission denied (os error 13)";
        assert_eq!(Failure::from(error).to_string(), expected);
    }

    #[test]
    fn a_known_error_is_known_in_a_chain() {
        let error: anyhow::Error = BindError::NoSocket("/x".into()).into();
        let failure = Failure::from(error);
        assert_eq!(failure.message, "/x is there and is not a socket");
        assert_eq!(failure.hint.as_deref(), Some("remove it, or name another path with --socket"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, failure.message.as_str()), (GOOD, ""));
    }
}
