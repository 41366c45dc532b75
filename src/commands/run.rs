//! `macvlan-shim run`: the daemon, in the foreground, in the network namespace that it is started in.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::Config;
use crate::daemon::{self, lock};

/// Runs it.
pub fn run(config_file: Option<PathBuf>, socket: &Path) -> Result<u8, Failure> {
    let config = Config::load(config_file.as_deref())?;
    let _lock = lock::acquire()?;
    super::block_on(daemon::run(config, config_file, socket))??;
    Ok(0)
}
