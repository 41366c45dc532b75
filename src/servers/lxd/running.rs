//! Whether a server runs. If systemd holds a server's socket, connecting to it starts a server that somebody
//! has stopped, or that stays down until it is needed. So we look for the server's process first, whatever
//! the reason to connect.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::model::inventory::ServerKind;
use crate::servers::error::ServerError;
use crate::servers::target::Target;

/// The folders in which this host shows its processes.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPaths {
    /// A folder that exists only if systemd is the first process of the host.
    pub systemd: PathBuf,
    /// The proc file system.
    pub proc: PathBuf,
}

impl Default for HostPaths {
    fn default() -> HostPaths {
        HostPaths { systemd: "/run/systemd/system".into(), proc: "/proc".into() }
    }
}

impl HostPaths {
    /// The socket to connect to, if connecting starts no stopped server.
    pub(in crate::servers) fn socket(&self, target: &Target) -> Result<PathBuf, ServerError> {
        let socket = place(target)?;
        if !self.may_be_started(&socket) || self.runs(target) != Some(false) {
            return Ok(socket);
        }
        let server = match target.kind {
            Some(ServerKind::Lxd) => "lxd".to_owned(),
            Some(ServerKind::Incus) => "incusd".to_owned(),
            None => format!("the server of {}", socket.display()),
        };
        Err(ServerError::Absent(format!("{server} is stopped; waiting for it, not starting it")))
    }

    /// Whether this process of a server that closed its event stream may still be ending, while systemd holds
    /// its socket.
    pub(in crate::servers) fn may_be_ending(&self, target: &Target, pid: u32) -> bool {
        self.proc.join(pid.to_string()).exists()
            && place(target).is_ok_and(|socket| self.may_be_started(&socket))
    }

    /// Whether connecting may start the server. systemd starts only servers for which it listens itself. If
    /// we cannot see that, it may.
    fn may_be_started(&self, socket: &Path) -> bool {
        self.systemd.exists() && self.is_held_by_systemd(socket).unwrap_or(true)
    }

    /// Whether the host's first process listens at this place. A server that it has started shares the
    /// socket. `None` if the files of that process are hidden from us.
    fn is_held_by_systemd(&self, socket: &Path) -> Option<bool> {
        let mut held = BTreeSet::new();
        for file in fs::read_dir(self.proc.join("1/fd")).ok()?.flatten() {
            match fs::read_link(file.path()) {
                Ok(link) => held.extend(socket_number(&link.to_string_lossy())),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
                // It was closed meanwhile.
                Err(_) => {}
            }
        }
        let identity = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let wanted = identity(socket)?;
        let sockets = fs::read_to_string(self.proc.join("net/unix")).ok()?;
        let mut places = sockets.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let number: u64 = words.nth(6)?.parse().ok()?;
            held.contains(&number).then(|| words.next()).flatten()
        });
        Some(places.any(|path| identity(Path::new(path)) == Some(wanted)))
    }

    /// `None` if other processes are hidden from us.
    fn runs(&self, target: &Target) -> Option<bool> {
        fs::read(self.proc.join("1/cmdline")).ok()?;
        let mut processes = fs::read_dir(&self.proc).ok()?.flatten().filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        });
        Some(processes.any(|process| is_server(&process.path(), target)))
    }
}

/// The first of a server's places that has a socket.
fn place(target: &Target) -> Result<PathBuf, ServerError> {
    target.candidates.iter().find(|path| !is_missing(path)).cloned().ok_or_else(|| {
        let places: Vec<_> = target.candidates.iter().map(|path| path.display().to_string()).collect();
        ServerError::Absent(format!("no socket at {}", places.join(" or ")))
    })
}

/// The number in the link of an open socket: `socket:[123]`.
fn socket_number(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A socket in a folder that we may not enter does not count as missing. Connecting will show the reason.
fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The daemons are `lxd --group lxd …` and `incusd --group …`. `lxd forkproxy …`, `lxd activateifneeded` and
/// `[lxc monitor] …` are not.
fn is_server(process: &Path, target: &Target) -> bool {
    // This comes first, because reading the command line of a process reads its memory, and a guest can make
    // us wait for that.
    if is_inside_a_guest(process) {
        return false;
    }
    let Ok(command) = fs::read(process.join("cmdline")) else { return false };
    let command = String::from_utf8_lossy(&command);
    let mut arguments = command.trim_end_matches('\0').split('\0');
    let program = arguments.next().and_then(|program| program.rsplit('/').next());
    let kind = match program {
        Some("lxd") => ServerKind::Lxd,
        Some("incusd") => ServerKind::Incus,
        _ => return false,
    };
    let is_daemon = arguments.next().is_none_or(|argument| argument.starts_with('-'));
    // Debian's LXD may be stopped while the snap's runs.
    let of_snap = target.id.0 == "lxd" && command.contains("/snap/");
    is_daemon && !of_snap && target.kind.is_none_or(|wanted| wanted == kind)
}

/// A process inside a container is in a PID namespace below ours, so it has more than one PID.
fn is_inside_a_guest(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    pids.is_some_and(|pids| pids.split_whitespace().count() > 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::ServerId;

    /// A host with these processes; pid 1 is always there.
    struct Host {
        folder: tempfile::TempDir,
        paths: HostPaths,
    }

    impl Host {
        fn new(systemd: bool, processes: &[(&str, &str)]) -> Host {
            let folder = tempfile::tempdir().unwrap();
            let paths =
                HostPaths { systemd: folder.path().join("systemd"), proc: folder.path().join("proc") };
            if systemd {
                fs::create_dir(&paths.systemd).unwrap();
            }
            for (pid, (command, nspid)) in [("init", "1")].iter().chain(processes).enumerate() {
                let process = paths.proc.join((pid + 1).to_string());
                fs::create_dir_all(&process).unwrap();
                fs::write(process.join("cmdline"), command.replace(' ', "\0") + "\0").unwrap();
                fs::write(process.join("status"), format!("Name:\tx\nNSpid:\t{nspid}\n")).unwrap();
            }
            fs::write(folder.path().join("unix.socket"), "").unwrap();
            Host { folder, paths }
        }

        /// The host's first process holds the socket number 77, which listens at this place.
        fn init_listens_at(&self, path: &Path) {
            let files = self.paths.proc.join("1/fd");
            fs::create_dir_all(&files).unwrap();
            for (file, link) in [("0", "/dev/null"), ("3", "socket:[77]"), ("4", "socket:[78]")] {
                symlink(link, files.join(file)).unwrap();
            }
            fs::create_dir_all(self.paths.proc.join("net")).unwrap();
            let line = |number, path| format!("0000: 00000002 00000000 00010000 0001 01 {number} {path}\n");
            let sockets = [
                "Num RefCount Protocol Flags Type St Inode Path\n".to_owned(),
                line(76, self.folder.path().join("unix.socket").display()),
                line(77, path.display()),
                "0000: 00000003 00000000 00000000 0001 03 78\n".to_owned(),
            ];
            fs::write(self.paths.proc.join("net/unix"), sockets.concat()).unwrap();
        }

        fn socket(&self, id: &str, kind: Option<ServerKind>) -> Result<PathBuf, ServerError> {
            let candidates = vec![self.folder.path().join("none"), self.folder.path().join("unix.socket")];
            self.paths.socket(&Target { id: ServerId(id.into()), kind, candidates })
        }

        fn connects(&self, id: &str, kind: Option<ServerKind>) -> bool {
            self.socket(id, kind).is_ok()
        }
    }

    const LXD: Option<ServerKind> = Some(ServerKind::Lxd);
    const INCUS: Option<ServerKind> = Some(ServerKind::Incus);

    #[test]
    fn a_stopped_server_of_systemd_is_not_started() {
        let host = Host::new(
            true,
            &[
                ("[lxc monitor] /var/lib/lxd/containers c1", "2"),
                ("lxd forkproxy -- x", "3"),
                ("/usr/bin/lxd activateifneeded", "4"),
                ("lxd-user --group lxd", "5"),
                ("lxd --group lxd", "6 400"),
            ],
        );
        let waiting = ServerError::Absent("lxd is stopped; waiting for it, not starting it".into());
        assert_eq!(host.socket("lxd", LXD), Err(waiting));
        assert!(!host.connects("/x", None));
    }

    #[test]
    fn a_server_that_systemd_does_not_listen_for_is_connected_to_whatever_its_name() {
        let host = Host::new(true, &[("lxd-of-mine", "2")]);
        host.init_listens_at(Path::new("/run/other.socket"));
        assert!(host.connects("lxd", LXD));
        assert!(host.connects("/x", None));
    }

    #[test]
    fn a_server_that_systemd_listens_for_is_not_started_by_whatever_name_of_its_socket() {
        let host = Host::new(true, &[("lxd-of-mine", "2")]);
        let other_name = host.folder.path().join("linked.socket");
        symlink(host.folder.path().join("unix.socket"), &other_name).unwrap();
        host.init_listens_at(&other_name);
        assert!(!host.connects("lxd", LXD));
        let running = Host::new(true, &[("lxd --group lxd", "2")]);
        running.init_listens_at(&running.folder.path().join("unix.socket"));
        assert!(running.connects("lxd", LXD));
    }

    #[test]
    fn a_running_server_is_connected_to() {
        let host = Host::new(true, &[("/usr/bin/lxd --group lxd --logfile x", "7"), ("incusd", "8")]);
        assert!(host.connects("lxd", LXD));
        assert!(host.connects("incus", INCUS));
        assert!(host.connects("/x", None));
    }

    #[test]
    fn the_snap_is_not_taken_for_the_package() {
        let host =
            Host::new(true, &[("lxd --logfile /var/snap/lxd/common/lxd/logs/lxd.log --group lxd", "7")]);
        assert!(!host.connects("lxd", LXD));
        assert!(host.connects("lxd-snap", LXD));
        assert!(!host.connects("incus", INCUS));
    }

    #[test]
    fn without_systemd_or_with_hidden_processes_it_is_connected_to() {
        assert!(Host::new(false, &[]).connects("lxd", LXD));
        let host = Host::new(true, &[]);
        fs::remove_dir_all(host.paths.proc.join("1")).unwrap();
        assert!(host.connects("lxd", LXD));
    }

    #[test]
    fn a_missing_socket_is_absence_with_all_places_named() {
        let host = Host::new(false, &[]);
        fs::remove_file(host.folder.path().join("unix.socket")).unwrap();
        let Err(ServerError::Absent(message)) = host.socket("incus", INCUS) else { panic!() };
        assert!(message.starts_with("no socket at /") && message.contains("/none or /"), "{message}");
    }
}
