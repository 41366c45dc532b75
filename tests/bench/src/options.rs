//! The subject of the measurement, and its length.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures macvlan-shim beside the alternatives, in namespaces that end with this program.
///
/// Prints a table and writes the same as JSON. Progress goes to stderr. Needs root and the packages of
/// tests/lab/setup.sh.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Options {
    /// The sections to run; all if none is named.
    #[arg(value_enum)]
    pub(crate) sections: Vec<Section>,
    /// Numbers of guests, such as 1,1000, in place of those of each section.
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) guests: Vec<u32>,
    /// Address changes for each figure of `latency`; a tenth of them for the one far apart.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(20..))]
    pub(crate) changes: u32,
    /// How often each fault of `heal`, deletion of `restore` and start of `start` is repeated.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long each load of `footprint` lasts.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Address changes for each of the `recipes`.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) recipe_changes: u32,
    /// The binary to measure; the one beside this program if none is named.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// Where the JSON goes; bench.json in the target folder if not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Section {
    /// From an address in a guest to its route on the host, beside a bare netlink loop.
    Latency,
    /// From the deletion of the shim to its last route, beside `ip -batch`.
    Restore,
    /// From the start of the daemon to readiness, with nothing there and with everything there.
    Start,
    /// Memory, processor time and wake-ups, idle and under load.
    Footprint,
    /// From a fault to its cure.
    Heal,
    /// The scripts that people use today, on a real LXD, beside the daemon.
    Recipes,
}

impl Section {
    /// The heading of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Section::Latency => "latency: from RTM_NEWADDR in a guest to RTM_NEWROUTE on the host",
            Section::Restore => "restore: from the deletion of the shim to the last route",
            Section::Start => "start: from the start of the daemon to status ready and all routes there",
            Section::Footprint => "footprint: memory, processor and wake-ups of the daemon",
            Section::Heal => "heal: from a fault to its cure",
            Section::Recipes => "recipes: the scripts that people use today, on a real LXD guest",
        }
    }

    fn default_guests(self) -> &'static [u32] {
        match self {
            Section::Latency | Section::Footprint | Section::Heal => &[1, 1000],
            Section::Restore => &[1, 100, 1000],
            Section::Start => &[1000],
            Section::Recipes => &[],
        }
    }
}

impl Options {
    /// Whether a section is wanted.
    pub(crate) fn wants(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.contains(&section)
    }

    /// The sections that are wanted with guests by number, and their numbers.
    pub(crate) fn sizes(&self) -> Vec<(u32, Vec<Section>)> {
        let sections = Section::value_variants().iter().copied();
        let crowded = sections.filter(|section| self.wants(*section) && *section != Section::Recipes);
        let mut sizes = std::collections::BTreeMap::<u32, Vec<Section>>::new();
        for section in crowded {
            let own = if self.guests.is_empty() { section.default_guests() } else { &self.guests };
            for size in own {
                let sections = sizes.entry(*size).or_default();
                if !sections.contains(&section) {
                    sections.push(section);
                }
            }
        }
        sizes.into_iter().collect()
    }

    /// The binary to measure.
    pub(crate) fn binary(&self) -> Result<PathBuf> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => beside_us()?.join("macvlan-shim"),
        };
        std::fs::canonicalize(&binary)
            .with_context(|| format!("{} is not there; run make build", binary.display()))
    }

    /// The path of the JSON.
    pub(crate) fn json(&self) -> Result<PathBuf> {
        match &self.json {
            Some(file) => Ok(file.clone()),
            None => Ok(beside_us()?.parent().context("no target folder")?.join("bench.json")),
        }
    }
}

fn beside_us() -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    Ok(us.parent().context("this program is in no folder")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(words: &[&str]) -> Vec<(u32, Vec<Section>)> {
        Options::parse_from([&["bench"], words].concat()).sizes()
    }

    #[test]
    fn each_section_has_its_own_numbers_of_guests_unless_some_are_given() {
        let [restore, start] = [Section::Restore, Section::Start];
        let own = sizes(&["start", "restore"]);
        assert_eq!(own, [(1, vec![restore]), (100, vec![restore]), (1000, vec![restore, start])]);
        assert_eq!(sizes(&["start", "--guests", "7,3,7"]), [(3, vec![start]), (7, vec![start])]);
        assert_eq!(sizes(&["recipes"]), []);
        assert_eq!(sizes(&[]).len(), 3);
    }
}
