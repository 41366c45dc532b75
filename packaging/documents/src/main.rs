//! Writes the parts of the packages, besides the binary, that have another source: man pages and shell
//! completions from the command line's own definition, the schemas of JSON from our types, the documents with other links, Debian's changelog from
//! CHANGELOG.md.
//!
//! usage: macvlan-shim-documents FOLDER DATE, where DATE is that of the release as `date -R` prints it

mod changelog;
mod config_page;
mod links;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use flate2::{Compression, GzBuilder};
use macvlan_shim::cli::Cli;
use macvlan_shim::model::history::StateChange;
use macvlan_shim::model::names::PROGRAM;
use macvlan_shim::model::status::Status;
use schemars::generate::SchemaSettings;

const USAGE: &str = "usage: macvlan-shim-documents FOLDER DATE";
/// An administrator's command.
const SECTION: &str = "8";
/// Exit status, environment, files.
const SECTIONS: &[u8] = include_bytes!("page.roff");
const CHANGES: &str = include_str!("../../../CHANGELOG.md");
/// The documents that are installed, by their folders in the repository: one file, or everything there.
const DOCUMENTS: [(&str, Option<&str>); 3] =
    [("", Some("README.md")), (".github", Some("SECURITY.md")), ("packaging/docs", None)];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context(USAGE)?;
    let date = arguments.next().context(USAGE)?;
    let folder = Path::new(&folder);
    // Existing files may belong to a command that no longer exists.
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    pages(folder)?;
    compressed(&folder.join("macvlan-shim.toml.5.gz"), config_page::page().as_bytes())?;
    completions(folder)?;
    documents(folder)?;
    schemas(folder)?;
    let changelog = changelog::debian(CHANGES, &date)?;
    compressed(&folder.join("changelog.Debian.gz"), changelog.as_bytes())
}

/// `status.schema.json`, and one for a line of `events --json`.
fn schemas(folder: &Path) -> Result<()> {
    let generator = || SchemaSettings::draft2020_12().for_serialize().into_generator();
    for (name, schema) in [
        ("status", generator().into_root_schema_for::<Status>()),
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

/// One page a command: `macvlan-shim.8.gz`, `macvlan-shim-status.8.gz`, …
fn pages(folder: &Path) -> Result<()> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        let man = Man::new(command.clone()).section(SECTION).manual("macvlan-shim").date("");
        let name = command.get_display_name().unwrap_or(PROGRAM);
        let page = if name == PROGRAM { first_page(&man)? } else { page(&man)? };
        compressed(&folder.join(format!("{name}.{SECTION}.gz")), &page)?;
        commands.extend(command.get_subcommands().filter(|one| one.get_name() != "help").cloned());
    }
    Ok(())
}

fn page(man: &Man) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok(page)
}

/// The page of the program, with sections that the command line's definition does not have.
fn first_page(man: &Man) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    page.extend_from_slice(SECTIONS);
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn completions(folder: &Path) -> Result<()> {
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let mut file = File::create(folder.join(format!("completion.{name}")))?;
        clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut file);
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
