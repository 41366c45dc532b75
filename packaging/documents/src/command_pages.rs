//! The manual pages of the commands, from the command line's own definition.

use std::io::Write;

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use macvlan_shim::cli::Cli;
use macvlan_shim::model::names::PROGRAM;

use crate::roff::{bold, plain};

/// An administrator's command.
pub(crate) const SECTION: &str = "8";
/// The sections that the command line's definition does not have: exit status, environment, files.
const SECTIONS: &[u8] = include_bytes!("page.roff");

/// One page a command, by its name: `macvlan-shim`, `macvlan-shim-status`, … `day` is that of the release.
pub(crate) fn pages(day: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut commands = vec![root];
    let mut pages = Vec::new();
    while let Some(command) = commands.pop() {
        let source = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
        let man = Man::new(command.clone()).section(SECTION).manual(PROGRAM).source(source).date(day);
        let name = command.get_display_name().unwrap_or(PROGRAM).to_owned();
        let page = if name == PROGRAM { first(&man, &command)? } else { other(&man, &command)? };
        pages.push((name, page));
        commands.extend(command.get_subcommands().filter(|one| one.get_name() != "help").cloned());
    }
    Ok(pages)
}

/// The page of the program.
fn first(man: &Man, command: &Command) -> Result<Vec<u8>> {
    let mut page = head(man, command)?;
    man.render_subcommands_section(&mut page)?;
    page.extend_from_slice(SECTIONS);
    Ok(page)
}

/// The part that all pages have, to their options. The synopsis is the usage that `--help` shows.
fn head(man: &Man, command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().next().unwrap_or_default();
    writeln!(page, ".SH SYNOPSIS\n{}", plain(usage))?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    Ok(page)
}

fn other(man: &Man, command: &Command) -> Result<Vec<u8>> {
    let mut page = head(man, command)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let also = [(PROGRAM, SECTION), ("macvlan-shim-codes", "7"), ("macvlan-shim.toml", "5")];
    let also = also.map(|(name, section)| format!("{}({section})", bold(name))).join(", ");
    writeln!(page, ".SH SEE ALSO\n{also}")?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_the_day_of_the_release() {
        let pages = pages("2026-11-30").unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for known in ["macvlan-shim", "macvlan-shim-status", "macvlan-shim-config-check"] {
            assert!(names.contains(&known), "{names:?}");
        }
        for (name, page) in &pages {
            let page = String::from_utf8_lossy(page);
            assert!(page.contains(&format!(".TH {name} 8 2026-11-30 ")), "{page}");
            assert!(page.contains(".SH SEE ALSO\n"), "{page}");
        }
    }
}
