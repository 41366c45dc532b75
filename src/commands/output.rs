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
    /// Number of lines that fit. `None` if there may be any number.
    pub(super) height: Option<usize>,
    /// With symbols that are not in ASCII.
    pub(super) symbols: bool,
}

impl Look {
    /// Neither colours nor line ends: for files and pipes.
    #[cfg(test)]
    pub(super) const PLAIN: Look = Look { colour: false, width: None, height: None, symbols: true };

    /// The sign that something was left out.
    pub(super) fn dots(self) -> &'static str {
        if self.symbols { "…" } else { "..." }
    }

    /// The form for standard output and `NO_COLOR`.
    pub(super) fn of_stdout() -> Look {
        let stdout = io::stdout();
        let symbols = speaks_utf8(|key| std::env::var(key).ok());
        if !stdout.is_terminal() {
            return Look { colour: false, width: None, height: None, symbols };
        }
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        // A terminal that does not know its size (a serial console) reports 0.
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let known =
            |size: Option<u16>, or: usize| size.map(usize::from).filter(|size| *size > 0).unwrap_or(or);
        Look {
            colour: !no_colour && !dumb,
            width: Some(known(size.map(|size| size.ws_col), 80)),
            height: Some(known(size.map(|size| size.ws_row), 24)),
            symbols,
        }
    }
}

/// Whether the locale's characters are those of UTF-8. The first of these variables that is set counts.
fn speaks_utf8(get: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(get).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::speaks_utf8;

    #[test]
    fn the_locale_says_whether_symbols_can_be_shown() {
        let with = |set: &'static [(&str, &str)]| {
            speaks_utf8(|key| set.iter().find(|(its, _)| *its == key).map(|(_, value)| (*value).to_owned()))
        };
        assert!(with(&[("LANG", "de_DE.UTF-8")]) && with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!with(&[]) && !with(&[("LANG", "C")]) && !with(&[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")]));
    }
}
