//! Text from servers, guests, the kernel and programs, made printable for the log, a terminal and systemd. It
//! is done once, where such text is read, so that status, its JSON, the log, `plan` and errors show the same.
//!
//! Characters that control a terminal, end a line, reverse the direction of writing or cannot be seen are
//! written as `\n` or `\u{202e}`.
//!
//! [`closest`] guesses the word that a user may have meant.

use smol_str::SmolStr;

/// Maximum number of characters of a sentence or a value.
const LONGEST: usize = 500;

/// A sentence or a value: printable, and cut at a length that no honest one has. Not for names, because two
/// long names must not become equal.
pub fn words(text: &str) -> String {
    let mut words: String = text.chars().take(LONGEST).flat_map(escaped).collect();
    if text.chars().nth(LONGEST).is_some() {
        words.push('…');
    }
    words
}

/// Any text, uncut.
pub fn visible(text: &str) -> String {
    text.chars().flat_map(escaped).collect()
}

/// A name: two that differ still do, because a backslash becomes two.
pub fn name(text: &str) -> SmolStr {
    // Nearly every name is like this, and a list of guests has thousands.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') {
        return text.into();
    }
    text.chars().flat_map(escaped_in_name).collect()
}

/// A name that need not be UTF-8, such as a link's: two that differ still do.
pub fn name_of_bytes(bytes: &[u8]) -> SmolStr {
    let mut name = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        name.extend(chunk.valid().chars().flat_map(escaped_in_name));
        chunk.invalid().iter().for_each(|byte| name.push_str(&format!("\\x{byte:02x}")));
    }
    name.into()
}

/// A number and its noun: `1 address`, `2 addresses`.
pub fn count(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn escaped(c: char) -> Escaped {
    // These need no escape outside of quotes.
    match c {
        '\\' | '\'' | '"' => Escaped::Plain(Some(c)),
        c => Escaped::Debug(c.escape_debug()),
    }
}

fn escaped_in_name(c: char) -> Escaped {
    match c {
        '\\' => Escaped::Debug(c.escape_debug()),
        c => escaped(c),
    }
}

/// The characters that one is written as.
enum Escaped {
    Plain(Option<char>),
    Debug(std::char::EscapeDebug),
}

impl Iterator for Escaped {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Escaped::Plain(c) => c.take(),
            Escaped::Debug(characters) => characters.next(),
        }
    }
}

/// Whether a name means only itself, even to a shell and at the start of a command's argument.
pub fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(fits)
}

/// The known word that somebody may have meant.
pub fn closest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(&written.to_lowercase(), known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_invisible_characters_are_written_out() {
        for (text, expected) in [
            ("READY\nMAINPID=1\r\t\0", r"READY\nMAINPID=1\r\t\0"),
            ("\x1b[2J\x7f\u{9b}1m", r"\u{1b}[2J\u{7f}\u{9b}1m"),
            ("a\u{2028}b\u{2029}c\u{85}", r"a\u{2028}b\u{2029}c\u{85}"),
            ("\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}", r"\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}"),
            ("a\u{200b}\u{200d}\u{feff}\u{ad}\u{e0041}", r"a\u{200b}\u{200d}\u{feff}\u{ad}\u{e0041}"),
            (r#"it's "C:\x", für 東京…"#, r#"it's "C:\x", für 東京…"#),
        ] {
            assert_eq!(words(text), expected);
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn a_plain_name_tricks_no_shell() {
        assert!(["eth0", "br-lan.10", "veth_1"].into_iter().all(is_plain));
        assert!(!["", "-h", "a b", "$(x)", "a;b", "ä", "a\\n"].into_iter().any(is_plain));
    }

    #[test]
    fn sentences_are_cut_and_names_are_not() {
        let long = "x".repeat(10_000);
        assert_eq!(words(&long).chars().count(), LONGEST + 1);
        assert!(words(&long).ends_with("x…"));
        assert_eq!((visible(&long).as_str(), name(&long).as_str()), (long.as_str(), long.as_str()));
    }

    #[test]
    fn names_that_differ_still_do() {
        let names: [&[u8]; 9] = [
            b"a\x1b",
            b"a\\u{1b}",
            b"a\\\\u{1b}",
            b"a\xff",
            b"a\\xff",
            "a\u{ff}".as_bytes(),
            "a\u{fffd}".as_bytes(),
            b"a\\",
            b"a\\\\",
        ];
        let printable: std::collections::BTreeSet<SmolStr> =
            names.iter().map(|name| name_of_bytes(name)).collect();
        assert_eq!(printable.len(), names.len(), "{printable:?}");
        assert!(printable.iter().all(|name| *name == visible(name)), "{printable:?}");
        assert_eq!(name_of_bytes(b"eth0.10"), "eth0.10");
        assert_eq!(name("web-1"), "web-1");
    }
}
