//! The sample file that the packages install explains each key as its field does, and README names the keys.

use std::collections::BTreeSet;
use std::fs;

use super::*;

const SAMPLE: &str = "packaging/files/etc/macvlan-shim/config.toml";

/// The head of the sample file.
const HEAD: &str = "\
# The configuration of macvlan-shim. It needs none: every key is shown with its default, or with an example.
#
#   macvlan-shim config check             reports its faults
#   systemctl reload macvlan-shimd        applies it; a faulty one is refused, and the old one stays
#
# Files in the folder conf.d beside it whose names end in .toml are read too, in the order of their names. A key
# may be in only one file; [[server]] and [[parent]] tables add up.
#
# The daemon runs as the user macvlan-shim, which must be able to read them.
";

#[test]
fn the_sample_explains_every_key_and_shows_its_default_or_an_example() {
    let sections = SECTIONS.map(|schema| {
        let keys = schema.keys.iter().map(|key| {
            let value =
                if schema.several() { key.example.map(str::to_owned) } else { schema.default(key.name) };
            format!("{}#{} = {}\n", comment(key.about), key.name, value.expect("an example"))
        });
        let header = if schema.several() { format!("#{}", schema.header) } else { schema.header.to_owned() };
        format!("\n{}{header}\n{}", comment(schema.about), keys.collect::<String>())
    });
    let should = format!("{HEAD}{}", sections.concat());
    if std::env::var_os("UPDATE_SAMPLE").is_some() {
        return fs::write(place(SAMPLE), should).unwrap();
    }
    let text = text_of(SAMPLE);
    let differing = should.lines().find(|line| !text.lines().any(|one| one == *line));
    let how = "UPDATE_SAMPLE=1 cargo test --lib config";
    assert!(text == should, "it differs from the sections; \"{how}\" writes it: {differing:?}");
}

#[test]
fn the_sample_changes_nothing() {
    assert_eq!(read(&text_of(SAMPLE)), Config::default());
}

#[test]
fn the_examples_of_the_sample_are_good() {
    let key = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase() || first == '[');
    let sample = text_of(SAMPLE);
    let lines: Vec<&str> =
        sample.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).filter(key).collect();
    let config = read(&lines.join("\n"));
    assert_eq!((config.servers.len(), config.parents["eth1"].routes.len()), (1, 1));
    let Config { select, shim, policy, .. } = Config::default();
    assert_eq!((config.select, config.shim, config.policy), (select, shim, policy));
}

/// README is short: a row may have several keys, and its words are its own.
#[test]
fn readme_names_every_key_with_its_default() {
    let readme = text_of("README.md");
    let (_, table) =
        readme.split_once("| key | default | meaning |\n| --- | --- | --- |\n").expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let named = rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (header, keys) = cells[1].trim_matches('`').split_once(' ').expect("a section and its keys");
        let default =
            cells[2].strip_prefix('`').map(|default| default.trim_end_matches('`')).unwrap_or_default();
        keys.split("`, `").map(move |key| format!("{header} {key}: {default}"))
    });
    let keys = SECTIONS.into_iter().flat_map(|schema| {
        let default = |key: &Key| schema.default(key.name).unwrap_or_default();
        schema.keys.iter().map(move |key| format!("{} {}: {}", schema.header, key.name, default(key)))
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), keys.collect::<BTreeSet<_>>());
}

fn text_of(path: &str) -> String {
    fs::read_to_string(place(path)).unwrap()
}

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Lines that begin with `# ` and have at most 110 characters.
fn comment(about: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in about.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= 110 => *line += &format!(" {word}"),
            _ => lines.push(format!("# {word}")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
