//! `config check` and `config show`.

use std::path::Path;

use super::output::print;
use super::{Failure, GOOD};
use crate::cli::ConfigCommand;
use crate::config::{Config, Loaded};
use crate::model::{names, text};

/// Checks or shows the named file, or else the default file, with the files of `conf.d` beside it.
pub fn config(file: Option<&Path>, command: ConfigCommand) -> Result<u8, Failure> {
    let loaded = Config::load(file)?;
    match command {
        ConfigCommand::Check => print(&verdict(&loaded)),
        ConfigCommand::Show { json: false } => print(&loaded.config.to_toml()),
        ConfigCommand::Show { json: true } => print(&(serde_json::to_string_pretty(&loaded.config)? + "\n")),
    }?;
    Ok(GOOD)
}

fn verdict(loaded: &Loaded) -> String {
    match loaded.files.is_empty() {
        true => format!("{}: there is no such file; the defaults hold\n", names::CONFIG_FILE),
        false => loaded
            .files
            .iter()
            .map(|file| format!("{}: ok\n", text::visible(&file.to_string_lossy())))
            .collect(),
    }
}
