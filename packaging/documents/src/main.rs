//! Writes the parts of the packages, besides the binary, that have another source: manual pages and shell
//! completions from the command line's own definition, the schemas of JSON from our types, the documents with
//! other links, Debian's changelog from CHANGELOG.md.
//!
//! usage: macvlan-shim-documents FOLDER TIME, where TIME is that of the release in seconds since 1970

mod changelog;
mod command_pages;
mod completions;
mod config_page;
mod links;
mod markdown_page;
mod roff;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use macvlan_shim::model::explanation::Explanations;
use macvlan_shim::model::history::StateChange;
use macvlan_shim::model::status::Status;
use schemars::generate::SchemaSettings;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::markdown_page::Head;

const USAGE: &str = "usage: macvlan-shim-documents FOLDER TIME";
const CODES: &str = include_str!("../../docs/states-and-codes.md");
const CHANGES: &str = include_str!("../../../CHANGELOG.md");
/// The documents that are installed, by their folders in the repository: one file, or everything there.
const DOCUMENTS: [(&str, Option<&str>); 3] =
    [("", Some("README.md")), (".github", Some("SECURITY.md")), ("packaging/docs", None)];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context(USAGE)?;
    let time: i64 = arguments.next().and_then(|time| time.parse().ok()).context(USAGE)?;
    let time = OffsetDateTime::from_unix_timestamp(time)?;
    let (day, time) = (time.date().to_string(), time.format(&Rfc2822)?);
    let folder = Path::new(&folder);
    // Existing files may belong to a command that no longer exists.
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (name, page) in command_pages::pages(&day)? {
        compressed(&folder.join(format!("{name}.{}.gz", command_pages::SECTION)), &page)?;
    }
    let codes = Head {
        name: "macvlan-shim-codes",
        section: 7,
        date: &day,
        about: "states, reasons and problems that macvlan-shim shows, and their cures",
        see_also: &[("macvlan-shim", 8), ("macvlan-shim-status", 8), ("macvlan-shim-explain", 8)],
    };
    compressed(&folder.join("macvlan-shim-codes.7.gz"), markdown_page::page(&codes, CODES)?.as_bytes())?;
    compressed(&folder.join("macvlan-shim.toml.5.gz"), config_page::page(&day).as_bytes())?;
    for (shell, script) in completions::completions()? {
        fs::write(folder.join(format!("completion.{shell}")), script)?;
    }
    documents(folder)?;
    schemas(folder)?;
    let changelog = changelog::debian(CHANGES, &time)?;
    compressed(&folder.join("changelog.Debian.gz"), changelog.as_bytes())
}

/// `status.schema.json`, `explain.schema.json`, and one for a line of `events --json`.
fn schemas(folder: &Path) -> Result<()> {
    let generator = || SchemaSettings::draft2020_12().for_serialize().into_generator();
    for (name, schema) in [
        ("status", generator().into_root_schema_for::<Status>()),
        ("explain", generator().into_root_schema_for::<Explanations>()),
        ("event", generator().into_root_schema_for::<StateChange>()),
    ] {
        let text = serde_json::to_string_pretty(&schema)? + "\n";
        fs::write(folder.join(format!("{name}.schema.json")), text)?;
    }
    Ok(())
}

fn documents(folder: &Path) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (home, name) in DOCUMENTS {
        for file in fs::read_dir(repository.join(home)).with_context(|| format!("reading {home}"))? {
            let file = file?.path();
            let its = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.map_or(its.ends_with(".md"), |name| name == its) {
                fs::write(folder.join(its), links::installed(&fs::read_to_string(&file)?, home))?;
            }
        }
    }
    Ok(())
}

/// As `gzip -9n` does: without a name and a time, because the same text must give the same bytes.
fn compressed(path: &Path, text: &[u8]) -> Result<()> {
    let mut file = GzBuilder::new().mtime(0).write(File::create(path)?, Compression::best());
    file.write_all(text)?;
    file.finish()?;
    Ok(())
}
