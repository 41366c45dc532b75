//! The faults of configuration files: each says where it is, what was found and expected, and what to write
//! instead.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::Utf8Error;

use crate::model::text;

/// Files that cannot be used. `Display` lists every fault, on several lines.
#[derive(Debug)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

/// One fault of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    file: PathBuf,
    /// The place in its text; `None` if it could not be read.
    place: Option<Marked>,
    /// The fault, in a sentence that names the key.
    message: String,
    /// The text to write instead.
    hint: Option<String>,
}

/// A place in a text as people see it.
#[derive(Clone, Debug, PartialEq)]
struct Marked {
    /// From 1.
    line: usize,
    /// The text of the line.
    text: String,
    /// The marked part of the line, in characters.
    part: Range<usize>,
}

impl ConfigError {
    pub(super) fn new(faults: Vec<Fault>) -> ConfigError {
        ConfigError { faults }
    }

    /// The first fault on one line, for a log or a problem.
    pub fn summary(&self) -> String {
        let first = self.faults.first().map(Fault::sentence).unwrap_or_default();
        let more = match self.faults.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        text::words(&format!("{first}{more}"))
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            let separator = if n > 0 { "\n" } else { "" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Fault {
    /// A fault at some bytes of a file's text.
    pub(super) fn at(
        file: &Path,
        text: &str,
        bytes: Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> Fault {
        Fault { file: file.to_owned(), place: Some(Marked::new(text, bytes)), message, hint }
    }

    /// A file or folder that cannot be read.
    pub(super) fn unreadable(file: &Path, error: &io::Error) -> Fault {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let hint = denied.then(|| how_to_let_it_be_read(file));
        Fault { file: file.to_owned(), place: None, message: in_words(error), hint }
    }

    /// A file that is not text.
    pub(super) fn not_text(file: &Path, bytes: &[u8], error: Utf8Error) -> Fault {
        let text = String::from_utf8_lossy(bytes);
        let at = error.valid_up_to();
        Fault::at(file, &text, at..at + 1, "this is not UTF-8 text".to_owned(), None)
    }

    /// The line, from 1; 0 for a file that could not be read.
    pub(super) fn line(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.line)
    }

    /// Where and what, on one line.
    fn sentence(&self) -> String {
        let file = self.file.display();
        match &self.place {
            Some(Marked { line, .. }) => format!("{file}, line {line}: {}", self.message),
            None => format!("{file}: {}", self.message),
        }
    }
}

impl Marked {
    fn new(text: &str, bytes: Range<usize>) -> Marked {
        // A parser that misses something points behind the end of a line. It means that line.
        let at = boundary(text, bytes.start);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let end = boundary(text, bytes.end.clamp(at, start + line.len().max(at - start)));
        let before = text[start..at].chars().count();
        let length = text[at..end].chars().count().max(1);
        Marked {
            line: text[..start].matches('\n').count() + 1,
            text: line.replace('\t', " "),
            part: before..before + length,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name may have anything in it.
        f.write_str(&text::visible(&self.sentence()))?;
        if let Some(Marked { line, text, part }) = &self.place {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n  {number} | {text}")?;
            write!(f, "\n  {margin} | {}{}", " ".repeat(part.start), "^".repeat(part.len()))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The character that a byte belongs to.
fn boundary(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The way to let the daemon of the unit, which is not root, read a file or folder.
fn how_to_let_it_be_read(file: &Path) -> String {
    let rights = if file.is_dir() { "g+rx" } else { "g+r" };
    let file = file.display();
    format!(
        "the unit's user, macvlan-shim, must be able to read it: \
         chgrp macvlan-shim {file} && chmod {rights} {file}"
    )
}

/// The message of the operating system, without its number.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read: permission denied".to_owned(),
        io::ErrorKind::NotADirectory => "this is a file; expected a directory".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory; expected a file".to_owned(),
        _ => error.to_string(),
    }
}
