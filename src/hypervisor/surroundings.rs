//! Whether a server runs. Where systemd holds a server's socket, connecting to it starts a server that somebody
//! stopped, or one that stays down until it is needed. So the server's process is looked for first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::target::Target;
use super::trouble::Trouble;
use crate::model::inventory::ServerKind;

/// Where this host shows what runs on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Surroundings {
    /// The folder that exists if systemd is the init.
    pub systemd: PathBuf,
    /// The proc file system.
    pub proc: PathBuf,
}

impl Default for Surroundings {
    fn default() -> Surroundings {
        Surroundings { systemd: "/run/systemd/system".into(), proc: "/proc".into() }
    }
}

impl Surroundings {
    /// The socket to connect to, if that starts nothing. `asked` connects whether or not the server's process is
    /// seen.
    pub(super) fn socket(&self, target: &Target, asked: bool) -> Result<PathBuf, Trouble> {
        let there = |path: &&PathBuf| !is_missing(path);
        let Some(socket) = target.candidates.iter().find(there) else {
            let places: Vec<_> = target.candidates.iter().map(|path| path.display().to_string()).collect();
            return Err(Trouble::Absent(format!("no socket at {}", places.join(" or "))));
        };
        if asked || !self.systemd.exists() || self.runs(target) != Some(false) {
            return Ok(socket.clone());
        }
        let server = match target.kind {
            Some(ServerKind::Lxd) => "lxd".to_owned(),
            Some(ServerKind::Incus) => "incusd".to_owned(),
            None => format!("the server of {}", socket.display()),
        };
        Err(Trouble::Absent(format!("{server} is stopped; waiting for it, not starting it")))
    }

    /// Whether this process of a server that closed its event stream may be about to end under systemd.
    pub(super) fn may_be_ending(&self, pid: u32) -> bool {
        self.systemd.exists() && self.proc.join(pid.to_string()).exists()
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

/// A socket in a folder that we may not enter is not missing: connecting will say so.
fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The daemons are `lxd --group lxd …` and `incusd --group …`, while `lxd forkproxy …`, `lxd activateifneeded` and
/// `[lxc monitor] …` are not.
fn is_server(process: &Path, target: &Target) -> bool {
    // A guest's process first of all: reading its command line reads its memory, and it can make us wait for that.
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

/// A server inside of a container is in a PID namespace below ours: it has more than one PID.
fn is_inside_a_guest(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    pids.is_some_and(|pids| pids.split_whitespace().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerId;

    /// A host with these processes; pid 1 is always there.
    struct Host {
        folder: tempfile::TempDir,
        around: Surroundings,
    }

    impl Host {
        fn new(systemd: bool, processes: &[(&str, &str)]) -> Host {
            let folder = tempfile::tempdir().unwrap();
            let around =
                Surroundings { systemd: folder.path().join("systemd"), proc: folder.path().join("proc") };
            if systemd {
                fs::create_dir(&around.systemd).unwrap();
            }
            for (pid, (command, nspid)) in [("init", "1")].iter().chain(processes).enumerate() {
                let process = around.proc.join((pid + 1).to_string());
                fs::create_dir_all(&process).unwrap();
                fs::write(process.join("cmdline"), command.replace(' ', "\0") + "\0").unwrap();
                fs::write(process.join("status"), format!("Name:\tx\nNSpid:\t{nspid}\n")).unwrap();
            }
            fs::write(folder.path().join("unix.socket"), "").unwrap();
            Host { folder, around }
        }

        fn socket(&self, id: &str, kind: Option<ServerKind>, asked: bool) -> Result<PathBuf, Trouble> {
            let candidates = vec![self.folder.path().join("none"), self.folder.path().join("unix.socket")];
            self.around.socket(&Target { id: ServerId(id.into()), kind, candidates }, asked)
        }

        fn connects(&self, id: &str, kind: Option<ServerKind>) -> bool {
            self.socket(id, kind, false).is_ok()
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
        let waiting = Trouble::Absent("lxd is stopped; waiting for it, not starting it".into());
        assert_eq!(host.socket("lxd", LXD, false), Err(waiting));
        assert!(host.socket("lxd", LXD, true).is_ok());
        assert!(!host.connects("/x", None));
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
    fn without_systemd_or_with_hidden_processes_it_is_tried() {
        assert!(Host::new(false, &[]).connects("lxd", LXD));
        let host = Host::new(true, &[]);
        fs::remove_dir_all(host.around.proc.join("1")).unwrap();
        assert!(host.connects("lxd", LXD));
    }

    #[test]
    fn a_missing_socket_is_absence_with_all_places_named() {
        let host = Host::new(false, &[]);
        fs::remove_file(host.folder.path().join("unix.socket")).unwrap();
        let Err(Trouble::Absent(message)) = host.socket("incus", INCUS, true) else { panic!() };
        assert!(message.starts_with("no socket at /") && message.contains("/none or /"), "{message}");
    }
}
