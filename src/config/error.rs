//! What is wrong in a configuration file: where, what was found, what was expected, what to write instead.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::model::text;

/// A file that cannot be used. `Display` gives all that is wrong, on several lines.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Unreadable(io::Error),
    Faults(Vec<Fault>),
}

/// One fault in the text of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in a sentence that names the key.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// The text of the line.
    text: String,
    /// The part of the line that is meant, in characters.
    marked: Range<usize>,
}

impl ConfigError {
    pub(super) fn unreadable(file: &Path, error: io::Error) -> ConfigError {
        ConfigError { file: file.to_owned(), cause: Cause::Unreadable(error) }
    }

    pub(super) fn faults(file: &Path, faults: Vec<Fault>) -> ConfigError {
        ConfigError { file: file.to_owned(), cause: Cause::Faults(faults) }
    }

    pub(super) fn not_text(file: &Path, bytes: &[u8], error: std::str::Utf8Error) -> ConfigError {
        let text = String::from_utf8_lossy(bytes);
        let at = error.valid_up_to();
        let message = "this is not UTF-8 text".to_owned();
        ConfigError::faults(file, vec![Fault::at(&text, at..at + 1, message, None)])
    }

    /// The first fault on one line, for a log or a problem.
    pub fn summary(&self) -> String {
        let file = self.file.display();
        match &self.cause {
            Cause::Unreadable(error) => text::words(&format!("{file}: {}", in_words(error))),
            Cause::Faults(faults) => {
                let first = faults.first().map(|fault| format!(", line {}: {}", fault.line, fault.message));
                let more = match faults.len() {
                    0 | 1 => String::new(),
                    n => format!(" (and {} more)", n - 1),
                };
                text::words(&format!("{file}{}{more}", first.unwrap_or_default()))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = match &self.cause {
            Cause::Faults(faults) => faults,
            Cause::Unreadable(error) => {
                f.write_str(&self.summary())?;
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                return if denied { f.write_str(&readable(&self.file)) } else { Ok(()) };
            }
        };
        for (n, fault) in faults.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}, {fault}", self.file.display())?;
        }
        Ok(())
    }
}

impl Fault {
    /// A fault at some bytes of a text.
    pub(super) fn at(text: &str, bytes: Range<usize>, message: String, hint: Option<String>) -> Fault {
        // A parser that misses something points behind the end of a line: that line is meant.
        let at = boundary(text, bytes.start);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let end = boundary(text, bytes.end.clamp(at, start + line.len().max(at - start)));
        let before = text[start..at].chars().count();
        let length = text[at..end].chars().count().max(1);
        Fault {
            line: text[..start].matches('\n').count() + 1,
            message,
            hint,
            text: line.replace('\t', " "),
            marked: before..before + length,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { line, message, hint, text, marked } = self;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "line {line}: {message}")?;
        writeln!(f, "  {number} | {text}")?;
        write!(f, "  {margin} | {}{}", " ".repeat(marked.start), "^".repeat(marked.len()))?;
        match hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The character that a byte belongs to.
fn boundary(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// How to let the daemon of the unit, which is not root, read a file.
fn readable(file: &Path) -> String {
    let file = file.display();
    format!(
        "\n  hint: the unit's user, macvlan-shim, must be able to read it: \
         chgrp macvlan-shim {file} && chmod g+r {file}"
    )
}

/// The operating system's word, without the number that it also has for it.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read: permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory; expected a file".to_owned(),
        _ => error.to_string(),
    }
}
