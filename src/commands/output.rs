//! Standard output: unlike `print!`, a reader that goes away does not make it panic.

use std::io::{self, IsTerminal, Write};

use super::Failure;

/// Writes a text as it is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::output(&error))
}

/// The form of a text for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// With colours.
    pub(super) colour: bool,
    /// Number of columns of a line. `None` if lines may have any length.
    pub(super) width: Option<usize>,
}

impl Look {
    /// Neither colours nor line ends: for files and pipes.
    pub(super) const PLAIN: Look = Look { colour: false, width: None };

    /// The form for standard output and `NO_COLOR`.
    pub(super) fn of_stdout() -> Look {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Look::PLAIN;
        }
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let width = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
        // A terminal that does not know its width (a serial console) reports 0.
        Look { colour: !no_colour && !dumb, width: Some(if width == 0 { 80 } else { width }) }
    }
}
