//! Imports go one way: `main → commands → {cli, daemon, doctor} → {kernel, servers, report → reconcile, config}
//! → model`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources must fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, each with those that it may import from.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("kernel", &["model"]),
    ("servers", &["model"]),
    ("reconcile", &["config", "model"]),
    ("report", &["reconcile", "config", "model"]),
    ("daemon", &["report", "kernel", "servers", "reconcile", "config", "model"]),
    ("doctor", &["report", "reconcile", "config", "model"]),
    ("cli", &["model"]),
    ("commands", &["cli", "daemon", "doctor", "report", "kernel", "servers", "reconcile", "config", "model"]),
];

/// Crates, each with the only rooms that may use it.
const CONFINED: &[(&str, &[&str])] = &[
    ("netlink_packet_route", &["kernel"]),
    ("netlink_packet_core", &["kernel"]),
    ("netlink_sys", &["kernel"]),
    ("rtnetlink", &["kernel"]),
    ("nix", &["kernel", "servers", "daemon", "commands"]),
    ("rustix", &["kernel", "commands"]),
    ("tokio_tungstenite", &["servers"]),
    ("reqwest", &["servers", "commands"]),
    ("hyper", &["servers", "daemon"]),
    ("hyper_util", &["daemon"]),
    ("http_body_util", &["daemon"]),
    ("sd_notify", &["daemon"]),
    ("listenfd", &["daemon"]),
    ("prometheus", &["report"]),
    ("serde_json", &["servers", "kernel", "daemon", "doctor", "commands"]),
    ("form_urlencoded", &["daemon", "commands"]),
    ("toml", &["config"]),
    ("strsim", &["model"]),
    ("clap", &["cli"]),
    ("tracing_subscriber", &["commands"]),
    ("tracing_appender", &["commands"]),
];

/// The rooms inside the kernel's room, each with those that it may import from.
const INSIDE_KERNEL: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("processor_time", &[]),
    ("socket", &["error"]),
    ("object", &["error", "socket"]),
    ("filter", &["error", "socket", "processor_time"]),
    ("view", &["error", "socket", "object", "filter"]),
    ("apply", &["error", "socket", "object", "filter", "view"]),
    ("fuzzing", &["socket", "view"]),
];

/// The steps of a decision in their order. Each imports only from those before it.
const LINE: &[&str] = &[
    "facts",
    "join",
    "select",
    "admit",
    "hold",
    "shims",
    "desired",
    "problems",
    "diff",
    "schedule",
    "memory",
    "inputs",
    "desire",
    "amend",
    "decide",
    "ask",
    "neighbour_table",
];

/// Maximum number of lines of a file, without its unit tests.
const LINES: usize = 350;

/// Names that several types have, because they are one idea.
const SHARED_NAMES: &[&str] = &[
    // `object::KIND::Seen`: an object of that kind as a message shows it.
    "Seen",
];

/// The files below a folder, except those that hold only unit tests: `tests.rs`, and everything in `tests/`.
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

/// The text without comments, and without the unit tests at the end of the file.
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
            assert!(fine, "{} imports from {named}, and {room} must not", path.display());
        }
    }
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let mut used = BTreeSet::new();
    for path in paths {
        let Some(room) = room_of(&path) else { continue };
        let code = code_of(&path);
        for (name, homes) in CONFINED.iter().filter(|(name, _)| names_crate(&code, name)) {
            assert!(
                homes.contains(&room.as_str()),
                "{} uses {name}, which stays in {homes:?}",
                path.display()
            );
            used.insert((*name, room.clone()));
        }
    }
    let allowed =
        CONFINED.iter().flat_map(|(name, homes)| homes.iter().map(|home| (*name, (*home).to_owned())));
    assert_eq!(used, allowed.collect(), "a room is on the list of a crate that it does not use");
}

/// Whether a text has a path that begins with the name of this crate.
fn names_crate(code: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.match_indices(&format!("{name}::")).any(|(at, _)| !code[..at].ends_with(is_part))
}

/// A file of a room as the path of its module below the room: `lxd::read`, or nothing for the room's own
/// `mod.rs`.
fn module_of(room: &Path, path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(room).unwrap().with_extension("");
    let mut parts: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// The paths that follow this prefix in a text. A list in braces gives one path for each entry.
fn paths_after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = Vec<String>> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let starts = code.match_indices(prefix).filter(move |(at, _)| !code[..*at].ends_with(is_part));
    starts.flat_map(move |(at, _)| {
        let rest = &code[at + prefix.len()..];
        let list = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(list, _)| list);
        let paths: Vec<&str> = list.map_or(vec![rest], |list| list.split(',').map(str::trim).collect());
        paths.into_iter().map(move |path| {
            let path: &str = path.split(|c| !is_part(c)).next().unwrap();
            path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
        })
    })
}

/// The files of a room, each with the others that it imports from.
fn imports_within(name: &str) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    let mut paths = Vec::new();
    sources(&room, &mut paths);
    let modules: BTreeSet<Vec<String>> = paths.iter().map(|path| module_of(&room, path)).collect();
    // The module that the path of an item leads into: the longest prefix of the path that is a module.
    let module_in = |path: Vec<String>| {
        (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|part| modules.contains(part))
    };
    let imports = paths.iter().map(|path| {
        let (own, code) = (module_of(&room, path), code_of(path));
        let within = |base: &[String], prefix: &str| -> Vec<Vec<String>> {
            paths_after(&code, prefix).map(|rest| [base, &rest].concat()).collect()
        };
        let above = own.len().checked_sub(1).map_or(vec![], |end| within(&own[..end], "super::"));
        let named = [within(&[], &format!("crate::{name}::")), within(&own, "self::"), above].concat();
        let others = named.into_iter().filter_map(module_in).filter(|other| *other != own).collect();
        (own, others)
    });
    imports.collect()
}

#[test]
fn no_file_imports_from_itself_by_a_detour() {
    let mut found = 0;
    let is_folder = |room: &&str| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room).is_dir();
    for room in MAY_IMPORT.iter().map(|(room, _)| *room).filter(is_folder) {
        let imports = imports_within(room);
        found += imports.values().map(BTreeSet::len).sum::<usize>();
        for file in imports.keys() {
            let (mut reached, mut next) = (BTreeSet::new(), vec![file]);
            while let Some(from) = next.pop() {
                next.extend(imports[from].iter().filter(|to| reached.insert((*to).clone())));
            }
            assert!(!reached.contains(file), "{room}::{} is in a circle: {imports:#?}", file.join("::"));
        }
    }
    assert!(found > 100, "the imports were not found");
}

#[test]
fn a_decision_is_a_straight_line() {
    let place = |step: &str| LINE.iter().position(|known| *known == step);
    for (module, imports) in imports_within("reconcile") {
        let Some(step) = module.first() else { continue };
        let at = place(step).unwrap_or_else(|| panic!("reconcile/{step} has no place in the line"));
        for other in imports.iter().filter_map(|import| import.first()).filter(|other| *other != step) {
            let is_before = place(other).is_some_and(|other| other < at);
            assert!(is_before, "reconcile/{} imports from {other}, which comes later", module.join("/"));
        }
    }
}

#[test]
fn files_are_short() {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        assert!(lines <= LINES, "{} has {lines} lines, without its tests", path.display());
    }
}

/// The name of the type that a line defines. Types that belong to a trait (`type Item = …`) do not count.
fn type_defined_by(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let words = words.strip_prefix("pub").map_or(words, |after| match after.strip_prefix('(') {
        Some(visibility) => visibility.split_once(')').map_or("", |(_, rest)| rest),
        None => after,
    });
    let (keyword, rest) = words.trim_start().split_once(' ')?;
    let defines = match keyword {
        "struct" | "enum" | "union" | "trait" => true,
        "type" => !line.starts_with(' '),
        _ => false,
    };
    rest.split(|c: char| !c.is_alphanumeric()).next().filter(|name| defines && !name.is_empty())
}

#[test]
fn a_name_is_the_name_of_one_type() {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let mut homes: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for path in &paths {
        for name in code_of(path).lines().filter_map(type_defined_by) {
            homes.entry(name.to_owned()).or_default().push(path);
        }
    }
    assert!(homes.len() > 200, "the types were not found");
    let shared: Vec<&String> = homes.keys().filter(|name| homes[*name].len() > 1).collect();
    assert_eq!(shared, SHARED_NAMES, "{homes:#?}");
}

#[test]
fn inside_the_kernel_imports_go_one_way() {
    for (module, imports) in imports_within("kernel") {
        let Some(room) = module.first() else { continue };
        let (_, allowed) = INSIDE_KERNEL
            .iter()
            .find(|(known, _)| known == room)
            .unwrap_or_else(|| panic!("kernel/{} is in no room that this test knows", module.join("/")));
        for other in imports.iter().filter_map(|import| import.first()) {
            let fine = other == room || allowed.contains(&other.as_str());
            assert!(fine, "kernel/{} imports from {other}, and {room} must not", module.join("/"));
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

/// Every file below a folder that has one of these extensions.
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

/// Every file of the repository that has one of these extensions, except build output.
fn repository(extensions: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        path.is_file() && path.extension().is_some_and(|its| extensions.iter().any(|one| its == *one))
    });
    for folder in [".github", "packaging", "profiles", "src", "tests"] {
        files(&root.join(folder), extensions, &mut found);
    }
    found
}

/// The name by which a link refers to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for document in repository(&["md"]) {
        let text = fs::read_to_string(&document).unwrap();
        let targets = text.split("](").skip(1).filter_map(|part| part.split_once(')'));
        for (target, _) in targets.filter(|(target, _)| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{} links to {target}, which does not exist", document.display());
            let headings = || fs::read_to_string(&file).unwrap();
            let is_there = heading.is_empty()
                || headings()
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_matches('#')) == heading);
            assert!(is_there, "{} links to {target}, and there is no such heading", document.display());
            links += 1;
        }
    }
    assert!(links > 10, "the documents were not found");
}

#[test]
fn every_path_in_a_document_or_comment_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = 0;
    for file in repository(&["md", "rs"]) {
        let text = fs::read_to_string(&file).unwrap();
        for path in text.split('`').filter(|path| {
            let folders = ["src/", "tests/", "packaging/", "profiles/", ".github/", ".ci/"];
            folders.iter().any(|folder| path.starts_with(folder)) && !path.contains(['*', ' ', '\n'])
        }) {
            let is_there = file
                .ancestors()
                .take_while(|above| above.starts_with(root))
                .any(|above| above.join(path).exists());
            assert!(is_there, "{} names {path}, which does not exist", file.display());
            paths += 1;
        }
    }
    assert!(paths > 10, "no path was found");
}

/// The words in the first column of every table whose first column has this title, each word once.
fn first_column(text: &str, title: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut is_in_table = false;
    for line in text.lines() {
        let cell = line.strip_prefix("| ").and_then(|row| row.split(" |").next());
        is_in_table = match cell {
            None => false,
            Some(cell) => is_in_table || cell == title,
        };
        let cell = cell.filter(|_| is_in_table).and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
        words.extend(cell.map(str::to_owned));
    }
    words
}

/// The variants of an enum as `status` shows them.
fn variants(texts: &[String], name: &str) -> Vec<String> {
    let head = format!("pub enum {name} {{");
    let body = texts.iter().find_map(|text| text.split_once(&head)?.1.split_once('}')).unwrap().0;
    body.lines().filter_map(|line| line.trim().strip_suffix(',')).map(str::to_lowercase).collect()
}

/// `src/model/code` has the same test for the codes.
#[test]
fn states_and_codes_has_every_state() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    sources(&root.join("src/model"), &mut paths);
    let model: Vec<String> = paths.iter().map(|path| code_of(path)).collect();
    let document = fs::read_to_string(root.join("packaging/docs/states-and-codes.md")).unwrap();
    let enums = ["ServerState", "ShimState", "NicState", "AddressState"];
    let states: BTreeSet<String> = enums.iter().flat_map(|name| variants(&model, name)).collect();
    assert_eq!(first_column(&document, "state"), states);
}
