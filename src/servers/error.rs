//! The reason why a server could not be read, in a sentence for the operator.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group};

/// Maximum number of characters shown of an answer that we do not understand.
const EXCERPT: usize = 120;

/// The error.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServerError {
    /// The server is not there.
    Absent(String),
    /// It is there, but of no use.
    Failed(String),
    /// It answered one request with an error. Other requests may succeed.
    Refused(String),
    /// The event stream ended, or fell silent.
    Lost(String),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Absent(text)
            | ServerError::Failed(text)
            | ServerError::Refused(text)
            | ServerError::Lost(text) => f.write_str(text),
        }
    }
}

impl ServerError {
    /// From an error of connecting to a socket.
    pub(super) fn connecting(socket: &Path, error: &io::Error) -> ServerError {
        let path = socket.display();
        match error.kind() {
            io::ErrorKind::NotFound => ServerError::Absent(format!("no socket at {path}")),
            io::ErrorKind::ConnectionRefused => ServerError::Absent(format!("nothing listens at {path}")),
            io::ErrorKind::PermissionDenied => {
                ServerError::Failed(format!("no permission to connect to {path}: {}", who_may(socket)))
            }
            io::ErrorKind::WouldBlock => {
                ServerError::Failed(format!("{path} takes no more connections: its server accepts none"))
            }
            io::ErrorKind::TimedOut => ServerError::Failed(format!("{path} does not accept connections")),
            _ => ServerError::Failed(format!("connecting to {path}: {error}")),
        }
    }
}

/// The server admits the group that its socket belongs to.
fn who_may(socket: &Path) -> String {
    let group = socket.metadata().ok().map(|metadata| Gid::from_raw(metadata.gid()));
    match group.and_then(|gid| Group::from_gid(gid).ok().flatten()) {
        Some(group) if group.gid.as_raw() != 0 => format!("run as root or in the group {}", group.name),
        _ => "run as root".to_owned(),
    }
}

/// The beginning of an answer that we do not understand, printable and in one line.
pub(super) fn excerpt(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer.get(..EXCERPT * 4).unwrap_or(answer));
    let mut start: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    if start.is_empty() {
        return "nothing".to_owned();
    }
    if text.chars().nth(EXCERPT).is_some() {
        start.push('…');
    }
    format!("\"{start}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_of_one_line() {
        assert_eq!(excerpt(b""), "nothing");
        assert_eq!(excerpt(b"<html>\n\x1b[2J\xff"), "\"<html>\\n\\u{1b}[2J\u{fffd}\"");
        let long = excerpt(&[b'x'; 100_000]);
        assert_eq!(long.chars().count(), EXCERPT + 3);
        assert!(long.ends_with("…\""));
    }

    #[test]
    fn absence_and_lack_of_permission_differ() {
        let socket = Path::new("/nowhere/unix.socket");
        let absent = ServerError::connecting(socket, &io::ErrorKind::NotFound.into());
        assert_eq!(absent, ServerError::Absent("no socket at /nowhere/unix.socket".into()));
        let refused = ServerError::connecting(socket, &io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            refused,
            ServerError::Failed("no permission to connect to /nowhere/unix.socket: run as root".into())
        );
    }
}
