//! The file that the packages install.

use std::collections::BTreeSet;

use super::*;
use crate::config::read::SECTIONS;

const SAMPLE: &str = include_str!("../../../packaging/files/etc/macvlan-shim/config.toml");

#[test]
fn it_changes_nothing() {
    assert_eq!(Config::parse(SAMPLE, Path::new("sample")).unwrap(), Config::default());
}

#[test]
fn it_shows_every_key_of_the_three_sections_with_its_default() {
    let uncommented: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        })
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let shown = Config::default().to_toml();
    let keys = shown.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(uncommented, keys.map(|line| format!("{line}\n")).collect::<String>());
}

#[test]
fn its_examples_are_good() {
    let config = Config::parse(&examples(), Path::new("sample")).unwrap();
    assert_eq!(config.servers, [Path::new("/var/lib/lxd/unix.socket")]);
    assert_eq!(config.parents["eth1"].keep, Some(true));
    assert_eq!(config.parents["eth1"].routes.len(), 1);
}

#[test]
fn its_examples_have_every_key_of_the_sections_that_come_several_times() {
    let examples: toml::Table = examples().parse().unwrap();
    for (section, _, keys) in SECTIONS.iter().filter(|(_, several, _)| *several) {
        let example = examples[*section].as_array().unwrap()[0].as_table().unwrap();
        let shown: BTreeSet<&str> = example.keys().map(String::as_str).collect();
        assert_eq!(shown, keys.iter().copied().collect(), "[[{section}]]");
    }
}

/// The sections that come several times: none is in force, so they are comments.
fn examples() -> String {
    let lines = SAMPLE.lines().filter_map(|line| line.strip_prefix("# "));
    let of_toml = lines.filter(|line| line.starts_with("[[") || line.contains(" = "));
    of_toml.map(|line| format!("{line}\n")).collect()
}
