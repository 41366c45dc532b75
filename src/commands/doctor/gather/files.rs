//! Files of other programs, sysctls, sockets and processes. Any of them may be missing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::doctor::survey::{ConfigLine, SocketRights};
use crate::model::inventory::{Home, Inventory};
use crate::model::text;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 256 << 10;

/// Maximum number of files of one folder.
const FILES: usize = 200;

/// Programs whose configuration may name an uplink, and where it is.
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("dnsmasq", &["etc/dnsmasq.conf", "etc/dnsmasq.d"]),
    ("keepalived", &["etc/keepalived/keepalived.conf", "etc/keepalived/conf.d"]),
];

/// Files and folders that may set up links at boot.
const BOOT: [&str; 11] = [
    "etc/rc.local",
    "etc/network/interfaces",
    "etc/network/interfaces.d",
    "etc/network/if-up.d",
    "etc/systemd/system",
    "etc/systemd/network",
    "etc/netplan",
    "etc/NetworkManager/dispatcher.d",
    "etc/networkd-dispatcher/routable.d",
    "etc/crontab",
    "etc/local.d",
];

/// The sysctls that checks ask for.
const SYSCTLS: [&str; 2] = ["net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward"];

/// The lines of a file, or of the files of a folder, without empty ones.
fn lines(root: &Path, path: &str) -> Vec<ConfigLine> {
    let place = root.join(path);
    let mut files: Vec<PathBuf> = match fs::read_dir(&place) {
        Ok(folder) => folder.flatten().map(|file| file.path()).take(FILES).collect(),
        Err(_) => vec![place],
    };
    files.sort();
    let is_short = |file: &&PathBuf| fs::metadata(file).is_ok_and(|it| it.is_file() && it.len() <= LONGEST);
    let mut lines = Vec::new();
    for file in files.iter().filter(is_short) {
        let Ok(contents) = fs::read(file) else { continue };
        let name = file.strip_prefix(root).unwrap_or(file).display();
        for (number, line) in String::from_utf8_lossy(&contents).lines().enumerate() {
            let line = text::words(line.trim());
            if !line.is_empty() {
                lines.push(ConfigLine {
                    file: text::visible(&format!("/{name}")),
                    number: number + 1,
                    text: line,
                });
            }
        }
    }
    lines
}

/// The configuration of those programs that run.
pub(super) fn programs(root: &Path) -> BTreeMap<String, Vec<ConfigLine>> {
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let names = processes.filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
    let running: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    let mut programs = BTreeMap::new();
    for (name, places) in PROGRAMS.iter().filter(|(name, _)| running.iter().any(|its| its == name)) {
        let lines: Vec<ConfigLine> = places.iter().flat_map(|place| lines(root, place)).collect();
        let lines = lines.into_iter().filter(|line| !line.text.starts_with(['#', '!'])).collect();
        programs.insert((*name).to_owned(), lines);
    }
    programs
}

/// The lines of all files that may set up links at boot.
pub(super) fn boot_files(root: &Path) -> Vec<ConfigLine> {
    BOOT.iter().flat_map(|place| lines(root, place)).collect()
}

/// The sysctls that the kernel has.
pub(super) fn sysctls(root: &Path) -> BTreeMap<String, i64> {
    let read = |name: &str| {
        let path = root.join("proc/sys").join(name.replace('.', "/"));
        Some((name.to_owned(), fs::read_to_string(path).ok()?.trim().parse().ok()?))
    };
    SYSCTLS.iter().filter_map(|name| read(name)).collect()
}

/// The sockets of the servers that are there.
pub(super) fn sockets(inventory: &Inventory) -> Vec<SocketRights> {
    let rights = |path: &str| {
        let metadata = fs::metadata(path).ok()?;
        let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(metadata.gid())).ok().flatten();
        Some(SocketRights {
            path: text::visible(path),
            group: group.map_or_else(|| metadata.gid().to_string(), |group| text::visible(&group.name)),
            is_open_to_group: metadata.mode() & 0o020 != 0,
            is_open_to_all: metadata.mode() & 0o002 != 0,
        })
    };
    inventory.servers.values().filter_map(|server| rights(&server.place)).collect()
}

/// Number of ticks in a second, in which `/proc` tells times (`USER_HZ`).
const TICKS: u64 = 100;

/// How long the first processes of guests run.
pub(super) fn ages(root: &Path, inventory: &Inventory) -> BTreeMap<u32, Duration> {
    let uptime = fs::read_to_string(root.join("proc/uptime")).unwrap_or_default();
    let uptime: Option<u64> = uptime.split('.').next().and_then(|seconds| seconds.parse().ok());
    let age = |pid: u32| {
        let stat = fs::read_to_string(root.join(format!("proc/{pid}/stat"))).ok()?;
        // The name in brackets may have spaces and brackets in it.
        let start: u64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
        Some((pid, Duration::from_secs(uptime?.saturating_sub(start / TICKS))))
    };
    let homes = inventory.homes().into_iter();
    homes.filter_map(|home| if let Home::Pid(pid) = home { age(pid) } else { None }).collect()
}
