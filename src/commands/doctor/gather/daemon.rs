//! The daemon's own word.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::commands::NO_DAEMON;
use crate::commands::ask::{ask, understand};
use crate::commands::status::PATH;
use crate::doctor::finding::Gap;
use crate::doctor::survey::DaemonState;

/// Asks it.
pub(super) async fn ask_status(socket: &Path) -> DaemonState {
    let is_closed =
        UnixStream::connect(socket).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    match ask(socket, PATH).await.and_then(|body| understand(&body)) {
        Ok(status) => DaemonState::Answers(Box::new(status)),
        Err(failure) if failure.exit == NO_DAEMON => DaemonState::Absent(failure.message),
        Err(failure) if is_closed => DaemonState::Silent(Gap::for_root(failure.message)),
        Err(failure) => DaemonState::Silent(Gap::new(failure.message)),
    }
}
