//! The texts that the licences of the crates in the binary require with every copy of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use macvlan_shim::model::names::PROGRAM;
use serde::Deserialize;

const HEAD: &str = "\
The program macvlan-shim contains Rust's standard library (https://www.rust-lang.org, MIT OR Apache-2.0, copyright by its
contributors) and the crates below. Their licences and notices follow, each text once; of a crate that may be had under
the MIT licence, among others, it is that one.
";
const RULE: &str = "--------------------------------------------------------------------------------";

/// A crate that is linked into the binary, and the texts that come with it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Linked {
    name: String,
    licence: String,
    texts: Vec<String>,
}

/// The notices of all linked crates, for this kind of machine. The result is the same wherever the crates
/// are.
pub(crate) fn third_party() -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let asked = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &platform];
    let answer = Command::new(cargo).args(asked).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    ensure!(answer.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&answer.stderr));
    let metadata: Metadata = serde_json::from_slice(&answer.stdout)?;
    let linked: Result<BTreeSet<Linked>> = metadata.linked()?.into_iter().map(Package::read).collect();
    notices(&linked?)
}

fn notices(linked: &BTreeSet<Linked>) -> Result<String> {
    let mut text = format!("{HEAD}\n");
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Linked { name, licence, texts } in linked {
        ensure!(
            !texts.is_empty(),
            "{name} ({licence}) has no licence file: its text has to be added by hand"
        );
        writeln!(text, "  {name}: {licence}")?;
        for text in texts {
            users.entry(text).or_default().push(name);
        }
    }
    let mut by_user: Vec<_> = users.into_iter().map(|(text, users)| (users, text)).collect();
    by_user.sort();
    for (users, notice) in by_user {
        write!(text, "\n{RULE}\n{}\n\n{notice}\n", users.join(", "))?;
    }
    Ok(text)
}

/// The output of `cargo metadata`, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

/// `kind` is `dev` or `build` for crates that are not linked.
#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// Everything that the program depends on at run time.
    fn linked(&self) -> Result<Vec<&Package>> {
        let packages: BTreeMap<_, _> = self.packages.iter().map(|package| (&package.id, package)).collect();
        let nodes: BTreeMap<_, _> = self.resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let program = self.packages.iter().find(|package| package.name == PROGRAM);
        let mut ahead = vec![&program.context("cargo metadata does not know the program")?.id];
        let mut seen: BTreeSet<&String> = ahead.iter().copied().collect();
        let mut linked = Vec::new();
        while let Some(id) = ahead.pop() {
            let node = nodes.get(id).with_context(|| format!("cargo metadata does not resolve {id}"))?;
            let at_run_time =
                |dependency: &&Dependency| dependency.dep_kinds.iter().any(|d| d.kind.is_none());
            for Dependency { pkg, .. } in node.deps.iter().filter(at_run_time) {
                let package =
                    *packages.get(pkg).with_context(|| format!("cargo metadata does not describe {pkg}"))?;
                if !package.runs_in_the_compiler() && seen.insert(pkg) {
                    linked.push(package);
                    ahead.push(pkg);
                }
            }
        }
        Ok(linked)
    }
}

impl Package {
    fn runs_in_the_compiler(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn read(&self) -> Result<Linked> {
        let folder = self.manifest_path.parent().context("a manifest has a folder")?;
        Ok(Linked {
            name: format!("{} {}", self.name, self.version),
            licence: self.license.clone().unwrap_or_else(|| "see its text".into()),
            texts: texts(folder)?,
        })
    }
}

/// The licences and notices in a crate's folder, without those that have an MIT licence as an alternative.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let files: Result<BTreeSet<PathBuf>, _> =
        fs::read_dir(folder)?.map(|file| file.map(|file| file.path())).collect();
    let names: Vec<(String, PathBuf)> = files?
        .into_iter()
        .filter(|file| file.is_file())
        .filter_map(|file| Some((file.file_name()?.to_str()?.to_uppercase(), file)))
        .collect();
    let has_mit = names.iter().any(|(name, _)| is_licence(name) && name.contains("MIT"));
    let wanted = names.iter().filter(|(name, _)| match is_licence(name) {
        true => !(has_mit && ["APACHE", "BSD", "UNLICENSE"].iter().any(|other| name.contains(other))),
        false => ["COPYING", "COPYRIGHT", "NOTICE"].iter().any(|start| name.starts_with(start)),
    });
    wanted.map(|(_, file)| Ok(tidy(&fs::read_to_string(file)?))).collect()
}

fn is_licence(name: &str) -> bool {
    ["LICENSE", "LICENCE", "UNLICENSE"].iter().any(|start| name.starts_with(start))
}

/// Without invisible differences.
fn tidy(text: &str) -> String {
    text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(name: &str, texts: &[&str]) -> Linked {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        Linked { name: name.to_owned(), licence: "MIT".to_owned(), texts }
    }

    #[test]
    fn each_text_is_there_once_with_all_its_crates() {
        let text =
            notices(&BTreeSet::from([linked("b 2", &["same"]), linked("a 1", &["own", "same"])])).unwrap();
        let expected =
            format!("{HEAD}\n  a 1: MIT\n  b 2: MIT\n\n{RULE}\na 1\n\nown\n\n{RULE}\na 1, b 2\n\nsame\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_crate_without_a_licence_is_not_passed_over() {
        let error = notices(&BTreeSet::from([linked("a 1", &[])])).unwrap_err().to_string();
        assert!(error.starts_with("a 1 (MIT) has no licence file"), "{error}");
    }

    #[test]
    fn only_linked_crates_count() {
        let package = |name: &str, kind: &str| {
            format!(
                r#"{{"id": "{name}", "name": "{name}", "version": "1", "license": "MIT", "manifest_path": "/x",
                     "targets": [{{"kind": ["{kind}"]}}]}}"#
            )
        };
        let node = |name: &str, dependencies: &[(&str, &str)]| {
            let dependencies = dependencies
                .iter()
                .map(|(name, kind)| format!(r#"{{"pkg": "{name}", "dep_kinds": [{{"kind": {kind}}}]}}"#));
            let dependencies = dependencies.collect::<Vec<_>>().join(",");
            format!(r#"{{"id": "{name}", "deps": [{dependencies}]}}"#)
        };
        let packages = [
            package(PROGRAM, "bin"),
            package("direct", "lib"),
            package("far", "lib"),
            package("macro", "proc-macro"),
        ];
        let nodes = [
            node(
                PROGRAM,
                &[("direct", "null"), ("macro", "null"), ("test", "\"dev\""), ("script", "\"build\"")],
            ),
            node("direct", &[("far", "null")]),
            node("far", &[("direct", "null")]),
        ];
        let metadata = format!(
            r#"{{"packages": [{}], "resolve": {{"nodes": [{}]}}}}"#,
            packages.join(","),
            nodes.join(",")
        );
        let metadata: Metadata = serde_json::from_str(&metadata).unwrap();
        let names: Vec<_> = metadata.linked().unwrap().iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["direct", "far"]);
    }

    #[test]
    fn of_several_licences_it_is_mit_and_notices_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["LICENSE-APACHE", "LICENSE-MIT", "COPYRIGHT", "NOTICE.md", "README.md"] {
            fs::write(folder.path().join(name), format!("\n{name}  \r\nend\n")).unwrap();
        }
        assert_eq!(texts(folder.path()).unwrap(), ["COPYRIGHT\nend", "LICENSE-MIT\nend", "NOTICE.md\nend"]);
        fs::remove_file(folder.path().join("LICENSE-MIT")).unwrap();
        assert_eq!(
            texts(folder.path()).unwrap(),
            ["COPYRIGHT\nend", "LICENSE-APACHE\nend", "NOTICE.md\nend"]
        );
    }
}
