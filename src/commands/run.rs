//! `macvlan-shim run`: the daemon, in the foreground, in the network namespace that it is started in.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::daemon;

/// Runs it.
pub fn run(config_file: Option<PathBuf>, socket: &Path) -> Result<u8, Failure> {
    super::block_on(daemon::run(config_file, socket))??;
    Ok(super::GOOD)
}
