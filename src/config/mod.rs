//! The configuration file: raw TOML → [`Config`]. Nothing after this module is unchecked.
//!
//! | module | what |
//! | --- | --- |
//! | `read` | a TOML table → its values, each with its place in the file; types and unknown keys |
//! | `sections` | the five sections → [`Config`]; what must be unique |
//! | `values` | one text → an address, a prefix, an interface name, a socket |
//! | `show` | [`Config`] → TOML |
//! | `error` | a fault with its line, and what to write instead |

mod error;
mod read;
mod sections;
mod show;
mod values;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::model::names;

pub use error::{ConfigError, Fault};

/// The effective configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The sockets to follow; empty: every known socket of this host.
    pub servers: Vec<PathBuf>,
    /// Which guests take part.
    pub select: Select,
    /// What holds for every shim.
    pub shim: Shim,
    /// What holds for the shim on one parent, by the parent's name.
    pub parents: BTreeMap<String, Parent>,
    /// Which addresses are admitted.
    pub policy: Policy,
}

/// Which guests take part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    /// Only guests with one of these profiles; empty: any.
    pub profiles: Vec<String>,
    /// Only guests of these projects; empty: any.
    pub projects: Vec<String>,
}

/// What holds for every shim.
#[derive(Clone, Debug, PartialEq)]
pub struct Shim {
    /// Own addresses; empty: none.
    pub addresses: Vec<IpAddr>,
    /// Whether guests are reached over IPv6.
    pub ipv6: bool,
    /// Whether it stands even without a guest.
    pub keep: bool,
}

/// What holds for the shim on one parent; `None` where the general value holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parent {
    /// Own addresses of this shim.
    pub addresses: Option<Vec<IpAddr>>,
    /// Ranges to reach through the shim besides known guests.
    pub routes: Vec<IpNet>,
    /// Whether it stands even without a guest.
    pub keep: Option<bool>,
}

/// Which addresses are admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Prefixes admitted besides the parent's on-link ones.
    pub allow: Vec<IpNet>,
    /// Prefixes never admitted.
    pub deny: Vec<IpNet>,
    /// How many addresses one NIC may have routed.
    pub max_addresses: usize,
    /// Whether the LAN is asked who has an address before a guest gets the host's traffic for it.
    pub probe: Probe,
}

/// Whether and when the LAN is asked who has an address that a guest claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// While its route goes in, which is withdrawn if somebody answers. A NIC of which an address turned out to be
    /// another machine's is treated strictly from then on.
    #[default]
    Optimistic,
    /// Before: the route waits until nobody has answered, which takes three seconds.
    Strict,
    /// Never. What the host's neighbour table knows counts all the same.
    Off,
}

impl Probe {
    /// All of them.
    pub const ALL: [Probe; 3] = [Probe::Optimistic, Probe::Strict, Probe::Off];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Probe::Optimistic => "optimistic",
            Probe::Strict => "strict",
            Probe::Off => "off",
        }
    }
}

impl Default for Shim {
    fn default() -> Shim {
        Shim { addresses: Vec::new(), ipv6: true, keep: false }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { allow: Vec::new(), deny: Vec::new(), max_addresses: 32, probe: Probe::default() }
    }
}

/// A configuration, and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file; `None` if there is none, so that the defaults hold.
    pub file: Option<PathBuf>,
}

impl Config {
    /// Reads the file that `explicit` names, which must exist, or else the default file, which need not.
    pub fn load(explicit: Option<&Path>) -> Result<Config, ConfigError> {
        Config::find(explicit).map(|loaded| loaded.config)
    }

    /// The same, and says which file it was.
    pub fn find(explicit: Option<&Path>) -> Result<Loaded, ConfigError> {
        Config::load_or_default(explicit, Path::new(names::CONFIG_FILE))
    }

    fn load_or_default(explicit: Option<&Path>, default: &Path) -> Result<Loaded, ConfigError> {
        let file = explicit.unwrap_or(default);
        let bytes = match std::fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound && explicit.is_none() => {
                return Ok(Loaded { config: Config::default(), file: None });
            }
            other => other.map_err(|error| ConfigError::unreadable(file, error))?,
        };
        let text = str::from_utf8(&bytes).map_err(|error| ConfigError::not_text(file, &bytes, error))?;
        Ok(Loaded { config: Config::parse(text, file)?, file: Some(file.to_owned()) })
    }

    /// Reads the text of a file; the file's name only serves the errors.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        sections::config(text).map_err(|faults| ConfigError::faults(file, faults))
    }
}

#[cfg(test)]
mod tests;
