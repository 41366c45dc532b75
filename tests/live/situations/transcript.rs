//! Commands as their users type them and what they see, compared with the document.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, ensure};
use lab::Machine;

use crate::node::BINARY;

/// The document, in the repository.
const DOCUMENT: &str = "packaging/docs/situations.md";

/// If this is set, the document is written instead of compared.
const UPDATE: &str = "UPDATE_SITUATIONS";

/// Several stories write into one document.
static TURN: Mutex<()> = Mutex::new(());

/// One command and its output.
pub(super) struct Typed {
    prompt: &'static str,
    words: &'static str,
    output: String,
}

impl Typed {
    /// Types a command of macvlan-shim at a terminal. A user who is not root begins with `$ `.
    pub(super) fn at(host: &Machine, words: &'static str) -> Result<Typed> {
        let (prompt, user, words) = match words.strip_prefix("$ ") {
            Some(words) => ("alice@node$", "setpriv --reuid=7001 --regid=7001 --clear-groups", words),
            None => ("node#", "", words),
        };
        let line = format!("stty cols 100 rows 60; exec {user} {BINARY} {words}");
        let mut command = host.command("script");
        command.args(["--quiet", "--command", &line, "/dev/null"]);
        command.envs([("NO_COLOR", "1"), ("TERM", "linux"), ("LC_ALL", "C.UTF-8")]);
        let output = command.output()?;
        let output = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        // What happened before belongs to another situation.
        let (output, _) = output.split_once("\nHistory\n").unwrap_or((&output, ""));
        Ok(Typed { prompt, words, output: output.trim_end().to_owned() })
    }

    /// Leaves of doctor's findings only those with one of these codes. Others are about the machine that the test
    /// runs on.
    pub(super) fn only(mut self, codes: &[&str]) -> Typed {
        let mut is_shown = false;
        let is_finding = |line: &str| line.starts_with(['✗', '!', '·', '?', '✓']);
        let lines = self.output.lines().filter(|line| {
            if is_finding(line) {
                is_shown = codes.iter().any(|code| line.split(' ').any(|word| word == *code));
            } else if !line.starts_with(' ') {
                is_shown = false;
            }
            is_shown
        });
        self.output = lines.collect::<Vec<_>>().join("\n");
        self
    }

    pub(super) fn is_of_doctor(&self) -> bool {
        self.words.starts_with("doctor")
    }
}

/// All output in one line, to look for a sentence in it wherever its lines end.
pub(super) fn in_one_line(typed: &[Typed]) -> String {
    let words = typed.iter().flat_map(|typed| typed.output.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the document is to be written instead of compared.
pub(super) fn is_written() -> bool {
    std::env::var_os(UPDATE).is_some()
}

/// Compares a situation with the document.
pub(super) fn compare(title: &str, story: &str, typed: &[Typed]) -> Result<()> {
    let (is, document) = (section(title, story, typed), read()?);
    let mut sections = document.split("\n## ");
    let documented = sections.find(|section| section.split('\n').next() == Some(title));
    let documented = documented.with_context(|| format!("{DOCUMENT} has no section {title}"))?;
    let (seen, was) = (constant(&is), constant(documented));
    ensure!(seen == was, "{DOCUMENT} shows something else for {title}:\n{seen}\n\nnot\n{was}\n\n{is}");
    Ok(())
}

/// Writes a situation into the document, in the place that it has there.
pub(super) fn write(title: &str, story: &str, typed: &[Typed]) -> Result<()> {
    let _turn = TURN.lock().map_err(|_| anyhow!("another story has failed"))?;
    let (is, document) = (section(title, story, typed), read()?);
    let mut sections: Vec<&str> = document.split("\n## ").collect();
    match sections.iter_mut().find(|section| section.split('\n').next() == Some(title)) {
        Some(section) => *section = &is,
        None => sections.push(&is),
    }
    Ok(std::fs::write(path(), sections.join("\n## "))?)
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT)
}

fn read() -> Result<String> {
    std::fs::read_to_string(path()).with_context(|| path().display().to_string())
}

fn section(title: &str, story: &str, typed: &[Typed]) -> String {
    let parts = typed.iter().map(|Typed { prompt, words, output }| {
        format!("```console\n{prompt} macvlan-shim {words}\n{output}\n```\n\n")
    });
    let section = format!("{title}\n\n{story}\n\n{}", parts.collect::<String>());
    section.trim_end().to_owned() + "\n"
}

/// A text without line ends, punctuation and everything that differs from run to run: numbers, durations, MACs.
/// Some durations are shown only if the daemon has seen the state begin.
fn constant(text: &str) -> String {
    let units = ["ns", "µs", "ms", "s", "min", "h", "d"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = word.trim_matches(|c: char| "(),;:".contains(c));
        let is_number = word.parse::<f64>().is_ok();
        let is_mac = word.len() == 17 && word.split(':').all(|part| u8::from_str_radix(part, 16).is_ok());
        let is_version =
            word.split('.').count() == 3 && word.split('.').all(|part| part.parse::<u32>().is_ok());
        match () {
            () if units.contains(&word) && words.last().is_some_and(|last| last == "#") => {
                words.pop();
                words.pop_if(|last| last == "for");
            }
            () if is_number || is_mac || is_version => words.push("#".to_owned()),
            () if word.is_empty() => {}
            () => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}
