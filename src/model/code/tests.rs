use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Code, Topic};

const DOCUMENT: &str = "packaging/docs/states-and-codes.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tables of the document: the heading above, and whose codes are in it.
const TABLES: &[(&str, &[Topic])] = &[
    ("NICs", &[Topic::Unselected, Topic::Unsupported, Topic::Waiting]),
    ("Refused", &[Topic::Refused]),
    ("Failed", &[Topic::Failed]),
    ("Problems", &[Topic::Problem]),
    ("Interfaces that can carry no shim", &[Topic::Parent]),
    ("Operations that failed", &[Topic::Operation]),
    ("Findings of doctor", &[Topic::Doctor]),
];

/// The rows that a table should have.
fn rows(topics: &[Topic]) -> Vec<String> {
    let codes = Code::ALL.iter().filter(|code| topics.contains(&code.topic()));
    let row = |code: &Code| {
        let state = match code.topic() {
            Topic::Unselected | Topic::Unsupported | Topic::Waiting => {
                format!(" `{:?}` |", code.topic()).to_lowercase()
            }
            _ => String::new(),
        };
        format!("| `{code}` |{state} {} | {} |", code.meaning(), code.cure())
    };
    codes.map(row).collect()
}

/// The document with the rows of its tables of codes as the catalogue has them.
fn written_anew(document: &str) -> String {
    let mut text: Vec<String> = Vec::new();
    let (mut heading, mut is_in_table, mut found) = ("", false, 0);
    for line in document.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
        if line.starts_with("| code |") {
            let table = TABLES.iter().find(|(above, _)| *above == heading);
            let (_, topics) = table.unwrap_or_else(|| panic!("no codes belong below {heading}"));
            let columns = line.matches('|').count() - 1;
            text.push(line.to_owned());
            text.push(format!("|{}", " --- |".repeat(columns)));
            text.extend(rows(topics));
            (is_in_table, found) = (true, found + 1);
        }
        is_in_table &= line.starts_with('|');
        if !is_in_table {
            text.push(line.to_owned());
        }
    }
    assert_eq!(found, TABLES.len(), "{DOCUMENT} lacks a table");
    text.join("\n") + "\n"
}

/// `UPDATE_DOCS=1 cargo test --lib model::code` writes the tables.
#[test]
fn the_document_has_the_words_of_the_catalogue() {
    let path = root().join(DOCUMENT);
    let document = fs::read_to_string(&path).unwrap();
    let wanted = written_anew(&document);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    for (line, wanted) in document.lines().zip(wanted.lines()) {
        assert_eq!(line, wanted, "UPDATE_DOCS=1 brings {DOCUMENT} up to date");
    }
    assert_eq!(document, wanted, "UPDATE_DOCS=1 brings {DOCUMENT} up to date");
}

#[test]
fn names_are_unique_and_made_of_small_letters() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-46".contains(&byte)), "{name}");
    }
}

#[test]
fn every_code_has_a_meaning_and_a_cure_that_fit_into_a_table() {
    for code in Code::ALL {
        for text in [code.meaning(), code.cure()] {
            let starts_well = text.starts_with(|c: char| c.is_lowercase() || "`0123456789".contains(c))
                || text.starts_with("IPv");
            assert!(starts_well && !text.ends_with('.'), "{code}: {text}");
            assert!(
                !text.contains(['|', '\n', '[', ']'].as_slice()) || text.contains("`["),
                "{code}: {text}"
            );
        }
    }
}

/// The files of the program outside the catalogue.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("model/code") || path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// Some codes are words that mean other things elsewhere: the key of a configuration, a field of a server's
/// answer, the label of a metric. They are looked for only where the texts of `status` are made. Everywhere
/// else a code is a `Code`.
#[test]
fn no_code_is_written_by_hand() {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    assert!(paths.len() > 50, "the sources were not found");
    for path in paths.iter().filter(|path| path.extension().is_some_and(|its| its == "rs")) {
        let text = fs::read_to_string(path).unwrap();
        let program = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        let gives_codes =
            ["daemon", "report"].iter().any(|room| path.starts_with(root().join("src").join(room)))
                && !path.ends_with("report/metrics/families.rs");
        for code in Code::ALL.iter().filter(|code| gives_codes || code.as_str().contains('-')) {
            assert!(!program.contains(&format!("\"{code}\"")), "{} writes {code} by hand", path.display());
        }
        // The changes of a problem's state are no problems.
        let program = &program.replace("StateOf::Problem {", "");
        let defines = ["model/status.rs", "model/history.rs"].iter().any(|file| path.ends_with(file));
        let makes = program.contains("Problem {") && !defines;
        let takes_apart = program.matches("let Problem {").count() + program.matches("for Problem {").count();
        let told = program.matches(" Problem {").count() - program.matches("-> Problem {").count();
        assert!(!makes || told == takes_apart, "{} makes a problem without Problem::new", path.display());
    }
}
