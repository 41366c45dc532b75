//! Sysctls below `/proc/sys/net`. The kernel shows there the namespace of the thread that looks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use crate::model::snapshot::{Host, Setting};

const ROOT: &str = "/proc/sys/net";

/// All settings of one link. What the kernel does not have is not in the map.
pub(super) fn read_all(link: &str) -> Result<BTreeMap<Setting, i64>, Error> {
    let mut found = BTreeMap::new();
    for setting in Setting::ALL {
        found.extend(number(&path(setting, link))?.map(|value| (setting, value)));
    }
    Ok(found)
}

/// Writes one setting unless it has the value already. True if it was written.
pub(super) fn write(link: &str, setting: Setting, value: i64) -> Result<bool, Error> {
    let path = path(setting, link);
    if number(&path)? == Some(value) {
        return Ok(false);
    }
    fs::write(&path, value.to_string()).map(|()| true)
}

/// What the host is, apart from its objects.
pub(super) fn host() -> Result<Host, Error> {
    let machine_id = match fs::read_to_string("/etc/machine-id") {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let ipv6 = Path::new(ROOT).join("ipv6/conf").exists();
    let arp_ignore = number(&Path::new(ROOT).join("ipv4/conf/all/arp_ignore"))?.unwrap_or(0);
    Ok(Host { machine_id, ipv6, arp_ignore })
}

/// Whether a link is a Wi-Fi interface.
pub(super) fn is_wireless(link: &str) -> bool {
    let folder = Path::new("/sys/class/net").join(link);
    folder.join("phy80211").exists() || folder.join("wireless").exists()
}

fn path(setting: Setting, link: &str) -> PathBuf {
    Path::new(ROOT).join(setting.path(link))
}

fn number(path: &Path) -> Result<Option<i64>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::new(ErrorKind::InvalidData, format!("{} is no number: {:?}", path.display(), text.trim()))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
