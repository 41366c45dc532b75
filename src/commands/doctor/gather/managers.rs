//! The programs that manage units and links: systemd, networkd, NetworkManager.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::programs::Words;
use crate::doctor::finding::Gap;
use crate::doctor::survey::{Networkd, UnitState};
use crate::model::text;

/// The questions to them.
pub(super) const PROGRAMS: [(&str, &[&str]); 4] = [
    (
        "systemctl",
        &["show", "macvlan-shimd", "--property=LoadState,ActiveState,Result,SupplementaryGroups,Group"],
    ),
    ("systemctl", &["show", "systemd-networkd", "NetworkManager", "--property=Id,ActiveState"]),
    ("journalctl", &["-u", "macvlan-shimd", "-n", "3", "--no-pager", "-o", "cat"]),
    ("nmcli", &["-t", "-f", "DEVICE,STATE", "device"]),
];

/// The answers, in the order of [`PROGRAMS`].
type Told = [Words; PROGRAMS.len()];

/// Where networkd looks for its configuration, the last first.
const FOLDERS: [&str; 4] = ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];

fn keys(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), text::words(value.trim()))).collect()
}

/// Whether systemd is the first process of this host. Without it there are no units.
fn has_systemd(root: &Path) -> bool {
    root.join("run/systemd/system").exists()
}

/// The daemon's unit.
pub(super) fn unit(root: &Path, answers: &Told) -> Result<UnitState, Gap> {
    if !has_systemd(root) {
        return Ok(UnitState::default());
    }
    let [unit, _, log, _] = answers;
    let keys = keys(unit.as_ref().map_err(|why| Gap::new(format!("the unit cannot be seen: {why}")))?);
    let get = |key: &str| keys.get(key).cloned().unwrap_or_default();
    let groups = format!("{} {}", get("Group"), get("SupplementaryGroups"));
    let log = log.as_deref().unwrap_or_default().lines().filter(|line| !line.starts_with("-- "));
    Ok(UnitState {
        exists: get("LoadState") == "loaded",
        active: get("ActiveState"),
        result: get("Result"),
        groups: groups.split_whitespace().map(str::to_owned).collect(),
        log: log.map(text::words).collect(),
    })
}

/// Whether a unit is active, if that is known. systemctl answers in paragraphs.
fn is_active(root: &Path, answers: &Told, unit: &str) -> Option<bool> {
    let [_, states, ..] = answers;
    if !has_systemd(root) {
        return Some(false);
    }
    let paragraphs = states.as_ref().ok()?.split("\n\n").map(keys);
    let of_unit = |keys: &BTreeMap<String, String>| keys.get("Id").is_some_and(|id| id.starts_with(unit));
    let keys = paragraphs.into_iter().find(of_unit)?;
    keys.get("ActiveState").map(|state| state == "active")
}

/// systemd-networkd, as its files configure it.
pub(super) fn networkd(root: &Path, answers: &Told) -> Networkd {
    let mut files: Vec<PathBuf> = Vec::new();
    let main =
        FOLDERS.iter().map(|folder| root.join(folder).join("networkd.conf")).find(|file| file.exists());
    files.extend(main);
    let mut drop_ins: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS.iter().rev() {
        let found = fs::read_dir(root.join(folder).join("networkd.conf.d")).into_iter().flatten().flatten();
        // A file of the same name in a folder that comes first takes the place of the other.
        drop_ins.extend(found.map(|file| (file.file_name(), file.path())));
    }
    files.extend(drop_ins.into_values());
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let spares = |folder: &str| {
        let files = fs::read_dir(root.join(folder).join("network")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).any(|text| {
            let keys = keys(&text);
            keys.get("Name").is_some_and(|name| name.contains("mvs-"))
                && keys.get("Unmanaged").is_some_and(|value| value == "yes")
        })
    };
    Networkd {
        runs: is_active(root, answers, "systemd-networkd"),
        keys: texts.flat_map(|text| keys(&text)).collect(),
        spares_shims: FOLDERS.iter().any(|folder| spares(folder)),
    }
}

/// The state of each link in NetworkManager, if that runs.
pub(super) fn network_manager(root: &Path, answers: &Told) -> Result<Option<BTreeMap<String, String>>, Gap> {
    let [.., devices] = answers;
    let gap = |why: &str| Gap::new(format!("NetworkManager cannot be asked: {why}"));
    match is_active(root, answers, "NetworkManager") {
        Some(false) => return Ok(None),
        None => return Err(gap("nobody tells whether it runs")),
        Some(true) => {}
    }
    let devices = devices.as_ref().map_err(|why| gap(why))?;
    let pairs = devices.lines().filter_map(|line| line.rsplit_once(':'));
    Ok(Some(pairs.map(|(name, state)| (name.replace("\\:", ":"), text::words(state))).collect()))
}
