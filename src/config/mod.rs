//! The configuration files: TOML → [`Config`]. Nothing after this module is unchecked.
//!
//! | module | contents |
//! | --- | --- |
//! | `files` | the files that are read, and their texts |
//! | `tables` | the texts → one table for each section; unknown sections and keys, keys in two files |
//! | `sections` | the six sections: a struct for each, with a field for each key |
//! | `section` | makes a struct a section, which then describes itself |
//! | `read` | one value → a checked value |
//! | `reader` | values with their places, faults so far |
//! | `values` | one text → an address, a prefix, an interface name, a socket |
//! | `error` | a fault with its line, and what to write instead |
//!
//! serde's `Deserialize` does not serve here. It stops at the first fault, so a file with three would be
//! corrected in three runs. It also needs each key twice (as it is written, and checked), and does not see
//! documentation. So the tree of values and spans that `toml` has is read directly. A macro of 50 lines makes
//! each field a key, so that name, type, default, check and explanation are in one place. The sample file and
//! the manual page are made from it. `config show` prints it with serde's `Serialize`.

mod error;
mod files;
mod read;
mod reader;
mod section;
mod sections;
mod tables;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::model::names;
use error::Fault;
use files::Source;
use reader::Reader;
use tables::Tables;

pub use error::ConfigError;
pub use section::{Key, Schema};
pub use sections::{Metrics, Parent, Policy, Probe, SECTIONS, Select, ServerSection, Shim};

/// The effective configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Config {
    /// The servers to follow; empty: every known server of this host.
    #[serde(rename = "server", skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerSection>,
    /// The guests that take part.
    pub select: Select,
    /// The keys for every shim.
    pub shim: Shim,
    /// The keys for the shim on one parent, by the parent's name.
    #[serde(rename = "parent", skip_serializing_if = "BTreeMap::is_empty", serialize_with = "as_list")]
    pub parents: BTreeMap<String, Parent>,
    /// The addresses that are admitted.
    pub policy: Policy,
    /// The numbers for Prometheus.
    pub metrics: Metrics,
}

/// A configuration, and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files in the order in which they were read; none: the defaults hold.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads the file that `explicit` names, which must exist, or else the default file, which need not, and
    /// the files in `conf.d` beside it.
    ///
    /// # Errors
    ///
    /// All faults of all files.
    pub fn load(explicit: Option<&Path>) -> Result<Loaded, ConfigError> {
        Config::load_or_default(explicit, Path::new(names::CONFIG_FILE))
    }

    fn load_or_default(explicit: Option<&Path>, default: &Path) -> Result<Loaded, ConfigError> {
        let (sources, faults) = files::read(explicit.unwrap_or(default), explicit.is_none());
        let config = Config::of(&sources, faults)?;
        Ok(Loaded { config, files: sources.into_iter().map(|source| source.file).collect() })
    }

    /// Reads the text of a file. The file's name only serves the errors.
    ///
    /// # Errors
    ///
    /// All faults of the text.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        Config::of(&[Source { file: file.to_owned(), text: text.to_owned() }], Vec::new())
    }

    /// The configuration that the files describe together, unless one of them, or reading it, was faulty.
    fn of(sources: &[Source], mut faults: Vec<Fault>) -> Result<Config, ConfigError> {
        let mut reader = Reader::new(sources);
        let trees = reader.parse();
        let tables = Tables::new(&trees, &mut reader);
        // The check of addresses in every section depends on this one key, so it is read ahead.
        reader.ipv6 = tables.one::<Shim>(&mut Reader::new(sources)).ipv6;
        let parents = tables.all::<Parent>(&mut reader).into_iter();
        let config = Config {
            servers: tables.all(&mut reader),
            select: tables.one(&mut reader),
            shim: tables.one(&mut reader),
            parents: parents.map(|parent| (parent.name.clone(), parent)).collect(),
            policy: tables.one(&mut reader),
            metrics: tables.one(&mut reader),
        };
        faults.extend(reader.into_faults());
        match faults.is_empty() {
            true => Ok(config),
            false => Err(ConfigError::new(faults)),
        }
    }

    /// The sockets of the servers to follow; empty: every known socket of this host.
    pub fn sockets(&self) -> Vec<PathBuf> {
        self.servers.iter().map(|server| server.socket.clone()).collect()
    }

    /// The whole configuration with every default spelt out. It reads back as the same.
    pub fn to_toml(&self) -> String {
        let every = match self.servers.is_empty() {
            true => "# no [[server]]: every known socket of this host is followed\n\n",
            false => "",
        };
        match toml::to_string(self) {
            Ok(text) => format!("{every}{text}"),
            // No value of a configuration is beyond TOML, because all were read from it.
            Err(error) => format!("# it cannot be shown: {error}\n"),
        }
    }
}

fn as_list<S: Serializer>(parents: &BTreeMap<String, Parent>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(parents.values())
}

#[cfg(test)]
mod tests;
