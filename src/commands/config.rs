//! `config check` and `config show`.

use std::path::Path;

use super::output::print;
use super::{Failure, GOOD};
use crate::cli::ConfigCommand;
use crate::config::{Config, Loaded};
use crate::model::names;

/// Checks or shows the file that is named, else the default file.
pub fn config(file: Option<&Path>, command: ConfigCommand) -> Result<u8, Failure> {
    let loaded = Config::find(file)?;
    match command {
        ConfigCommand::Check => print(&verdict(&loaded)),
        ConfigCommand::Show => print(&loaded.config.to_toml()),
    }?;
    Ok(GOOD)
}

fn verdict(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(file) => format!("{}: ok\n", file.display()),
        None => format!("{}: there is no such file; the defaults hold\n", names::CONFIG_FILE),
    }
}
