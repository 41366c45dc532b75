//! Imports go one way: `main → commands → {cli, daemon} → {kernel, servers, reconcile, config} → model`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms that it may import from.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("kernel", &["model"]),
    ("servers", &["model"]),
    ("reconcile", &["config", "model"]),
    ("daemon", &["kernel", "servers", "reconcile", "config", "model"]),
    ("cli", &["model"]),
    ("commands", &["cli", "daemon", "kernel", "servers", "reconcile", "config", "model"]),
];

/// Crates that must not leave one room.
const CONFINED: &[(&str, &str)] = &[
    ("netlink_packet_route", "kernel"),
    ("netlink_packet_core", "kernel"),
    ("netlink_sys", "kernel"),
    ("rtnetlink", "kernel"),
    ("tokio_tungstenite", "servers"),
    ("clap", "cli"),
];

/// The files below a folder, save those that hold unit tests alone: `tests.rs`, and what is in `tests/`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?;
    let room = first.trim_end_matches(".rs");
    (!["main", "lib"].contains(&room)).then(|| room.to_owned())
}

/// The rooms that a text names by `crate::room`.
fn rooms_named(text: &str) -> BTreeSet<String> {
    let names = text.match_indices("crate::").map(|(at, word)| {
        let rest = &text[at + word.len()..];
        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    });
    names.filter(|name| MAY_IMPORT.iter().any(|(room, _)| room == name)).collect()
}

/// Without comments, and without the unit tests that stand last in a file.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_room_imports_only_from_the_rooms_below_it() {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    assert!(paths.len() > 20, "the sources were not found");
    for path in paths {
        let Some(room) = room_of(&path) else { continue };
        let (_, allowed) = MAY_IMPORT.iter().find(|(known, _)| *known == room).unwrap_or_else(|| {
            panic!("{} is in the room {room}, which this test does not know", path.display())
        });
        for named in rooms_named(&code_of(&path)) {
            let fine = named == room || allowed.contains(&named.as_str());
            assert!(fine, "{} imports from {named}, which {room} must not", path.display());
        }
    }
}

#[test]
fn netlink_stays_in_the_kernel_room_and_websockets_in_the_servers() {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    for path in paths {
        let Some(room) = room_of(&path) else { continue };
        let code = code_of(&path);
        for (name, home) in CONFINED {
            let uses = code.contains(&format!("{name}::"));
            assert!(!uses || room == *home, "{} uses {name}, which belongs into {home}/", path.display());
        }
    }
}

#[test]
fn deciding_does_no_input_or_output() {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reconcile"), &mut paths);
    for path in paths {
        let code = code_of(&path);
        for banned in [
            "std::fs",
            "std::env",
            "std::process",
            "std::net::Tcp",
            "tokio::",
            "Instant::now",
            "SystemTime",
            "HashMap",
        ] {
            assert!(!code.contains(banned), "{} uses {banned}", path.display());
        }
    }
}

#[test]
fn every_dependency_has_a_line_that_says_why() {
    let read = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let listing = read(".github/CONTRIBUTING.md");
    let table = listing.split("\n| crate |").nth(1).unwrap();
    let rows = table.lines().filter_map(|row| row.strip_prefix("| ")?.split(" |").next());
    let told: BTreeSet<&str> = rows.skip(1).flat_map(|crates| crates.split(", ")).collect();
    let root: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = root["workspace"]["members"].as_array().unwrap();
    let manifests = members.iter().map(|member| read(&format!("{}/Cargo.toml", member.as_str().unwrap())));
    let manifests: Vec<toml::Table> = manifests.map(|text| text.parse().unwrap()).collect();
    let used: BTreeSet<&str> = manifests
        .iter()
        .chain([&root])
        .flat_map(|manifest| ["dependencies", "dev-dependencies"].map(|section| manifest.get(section)))
        .flatten()
        .flat_map(|section| section.as_table().unwrap())
        .filter(|(_, what)| what.get("path").is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(told, used);
}

/// Every file below a folder with one of these extensions.
fn files(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extensions, found);
        } else if path.extension().is_some_and(|its| extensions.iter().any(|one| its == *one)) {
            found.push(path);
        }
    }
}

#[test]
fn every_fact_that_is_cited_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let facts = fs::read_to_string(root.join("src/kernel/FACTS.md")).unwrap();
    let number = |line: &str| line.split_once(". ")?.0.parse::<u32>().ok();
    let numbers: Vec<u32> = facts.lines().filter_map(number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "the facts are not numbered in order");
    let mut paths = Vec::new();
    ["src", "tests"].iter().for_each(|folder| files(&root.join(folder), &["rs", "md", "txt"], &mut paths));
    let mut cited = 0;
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        for (at, word) in text.match_indices("FACTS ") {
            let digits: String = text[at + word.len()..].chars().take_while(char::is_ascii_digit).collect();
            let Ok(fact) = digits.parse::<u32>() else { continue };
            assert!(numbers.contains(&fact), "{} cites FACTS {fact}, which does not exist", path.display());
            cited += 1;
        }
    }
    assert!(cited > 0, "no citation was found");
}
