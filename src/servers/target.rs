//! The places of servers on this host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::inventory::{Server, ServerKind};
use crate::model::{ServerId, text};

const LXD: &str = "/var/lib/lxd/unix.socket";
const LXD_SNAP: &str = "/var/snap/lxd/common/lxd/unix.socket";
const INCUS: [&str; 2] = ["/run/incus/unix.socket", "/var/lib/incus/unix.socket"];

/// A server that may be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name in output.
    pub id: ServerId,
    /// The kind of server that it must be, if its place shows it.
    pub kind: Option<ServerKind>,
    /// The possible places of its socket. The first that exists is taken. Never empty if made by [`targets`].
    pub candidates: Vec<PathBuf>,
}

impl Target {
    /// The server as long as it has not been heard.
    pub fn unread(&self) -> Server {
        Server {
            place: self.candidates.first().map(|socket| socket.display().to_string()).unwrap_or_default(),
            kind: self.kind,
            ..Server::default()
        }
    }
}

/// The servers to follow: those of the `configured` sockets, or all known servers if none is configured.
/// `env` reads the environment. A socket that two of them name is followed once.
///
/// The known servers are `lxd`, `lxd-snap` and `incus`, at the places where their own clients look.
pub fn targets(configured: &[PathBuf], env: impl Fn(&str) -> Option<OsString>) -> Vec<Target> {
    let all = if configured.is_empty() {
        known(env)
    } else {
        configured.iter().map(|socket| named(socket)).collect()
    };
    let mut seen = Vec::new();
    let mut targets: Vec<Target> = Vec::new();
    for mut target in all {
        target.candidates.retain(|socket| {
            let place = canonical(socket);
            let new = !seen.contains(&place);
            seen.push(place);
            new
        });
        // Both known places of Incus may be configured. Their names must differ.
        if let Some(first) = target.candidates.first()
            && targets.iter().any(|other| other.id == target.id)
        {
            target.id = ServerId(text::visible(&first.display().to_string()).into());
        }
        if !target.candidates.is_empty() {
            targets.push(target);
        }
    }
    targets
}

fn known(env: impl Fn(&str) -> Option<OsString>) -> Vec<Target> {
    let from_env = |socket: &str, folder: &str| {
        let get = |key: &str| env(key).filter(|value| !value.is_empty()).map(PathBuf::from);
        get(socket).or_else(|| Some(get(folder)?.join("unix.socket")))
    };
    let one = |path: Option<PathBuf>, default: &[&str]| match path {
        Some(path) => vec![path],
        None => default.iter().map(PathBuf::from).collect(),
    };
    vec![
        target("lxd", Some(ServerKind::Lxd), one(from_env("LXD_SOCKET", "LXD_DIR"), &[LXD])),
        target("lxd-snap", Some(ServerKind::Lxd), one(None, &[LXD_SNAP])),
        target("incus", Some(ServerKind::Incus), one(from_env("INCUS_SOCKET", "INCUS_DIR"), &INCUS)),
    ]
}

fn named(socket: &Path) -> Target {
    let candidates = vec![socket.to_owned()];
    let is = |known: &str| socket == Path::new(known);
    if is(LXD) {
        target("lxd", Some(ServerKind::Lxd), candidates)
    } else if is(LXD_SNAP) {
        target("lxd-snap", Some(ServerKind::Lxd), candidates)
    } else if INCUS.into_iter().any(is) {
        target("incus", Some(ServerKind::Incus), candidates)
    } else {
        target(&socket.display().to_string(), None, candidates)
    }
}

fn target(id: &str, kind: Option<ServerKind>, candidates: Vec<PathBuf>) -> Target {
    Target { id: ServerId(id.into()), kind, candidates }
}

/// The socket itself may not be there yet. Its folder usually is.
fn canonical(socket: &Path) -> PathBuf {
    let of_folder = || Some(socket.parent()?.canonicalize().ok()?.join(socket.file_name()?));
    socket.canonicalize().ok().or_else(of_folder).unwrap_or_else(|| socket.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids_and_paths(targets: &[Target]) -> Vec<(String, Vec<String>)> {
        let texts = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
        targets.iter().map(|target| (target.id.to_string(), texts(&target.candidates))).collect()
    }

    fn row(id: &str, paths: &[&str]) -> (String, Vec<String>) {
        (id.to_owned(), paths.iter().map(|&path| path.to_owned()).collect())
    }

    #[test]
    fn the_known_sockets_are_the_default() {
        let found = targets(&[], |_| None);
        assert_eq!(
            ids_and_paths(&found),
            [row("lxd", &[LXD]), row("lxd-snap", &[LXD_SNAP]), row("incus", &INCUS)]
        );
    }

    #[test]
    fn the_environment_moves_them_as_for_the_servers_own_clients() {
        let found = targets(&[], |key| match key {
            "LXD_SOCKET" => Some("/a/s".into()),
            "LXD_DIR" => Some("/b".into()),
            "INCUS_SOCKET" => Some("".into()),
            "INCUS_DIR" => Some("/c".into()),
            _ => None,
        });
        assert_eq!(
            ids_and_paths(&found),
            [row("lxd", &["/a/s"]), row("lxd-snap", &[LXD_SNAP]), row("incus", &["/c/unix.socket"])]
        );
    }

    #[test]
    fn a_configured_socket_keeps_its_known_name() {
        let sockets: Vec<PathBuf> =
            [LXD_SNAP, "/x/unix.socket", INCUS[1], INCUS[0]].map(PathBuf::from).into();
        let found = targets(&sockets, |_| Some("/ignored".into()));
        assert_eq!(
            ids_and_paths(&found),
            [
                row("lxd-snap", &[LXD_SNAP]),
                row("/x/unix.socket", &["/x/unix.socket"]),
                row("incus", &[INCUS[1]]),
                row(INCUS[0], &[INCUS[0]]),
            ]
        );
    }

    #[test]
    fn one_socket_by_two_names_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let found = targets(&[real.join("unix.socket"), link.join("unix.socket")], |_| None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].candidates, [real.join("unix.socket")]);
    }
}
