//! `metrics`: asks the daemon for its numbers and prints them.

use std::path::Path;

use super::ask::ask;
use super::output::print;
use super::{Failure, GOOD, block_on};

/// Prints the metrics of the daemon behind a control socket.
pub fn metrics(socket: &Path) -> Result<u8, Failure> {
    print(&block_on(ask(socket, "/metrics"))??)?;
    Ok(GOOD)
}
