//! Sysctls below `/proc/sys/net`. The kernel shows those of the reading thread's namespace.
//!
//! A missing file can mean three things. If only one key is missing, this kernel does not have it. If a link
//! has no folder, it is gone, or has another name by now. If the folder of all links is missing, something
//! hides the tree (`/proc` is not mounted, a container or a unit masks it). Then nothing is known of any
//! setting, and none may be assumed to be right.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::model::Family;
use crate::model::snapshot::{Host, Setting, Sysctls};

const ROOT: &str = "/proc/sys/net";

/// The folder of all links. Without it there is nothing.
const LINKS: &str = "ipv4/conf";

/// All settings of one link; `None` if there is no such link (any more). Settings that the kernel does not
/// have are not in the map.
pub(in crate::kernel) fn read_all(link: &str) -> Result<Option<BTreeMap<Setting, i64>>, Error> {
    let mut found = BTreeMap::new();
    for setting in Setting::ALL {
        found.extend(number(&path(setting, link))?.map(|value| (setting, value)));
    }
    if found.is_empty() && !below(LINKS).join(link).exists() {
        return Ok(None);
    }
    Ok(Some(found))
}

/// Writes one setting unless it has the value already. True if it was written.
pub(in crate::kernel) fn write(link: &str, setting: Setting, value: i64) -> Result<bool, Error> {
    let path = path(setting, link);
    if number(&path)? == Some(value) {
        return Ok(false);
    }
    fs::write(&path, value.to_string()).map(|()| true)
}

/// The facts of the host apart from its objects. Facts that cannot be seen any more keep their values.
pub(in crate::kernel) fn host(before: &Host) -> Result<Host, Error> {
    let machine_id = match fs::read_to_string("/etc/machine-id") {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let sysctls = sysctls()?;
    if sysctls == Sysctls::Missing {
        let ipv6 = before.ipv6 || Path::new("/proc/thread-self/net/if_inet6").exists();
        return Ok(Host { machine_id, ipv6, sysctls, ..before.clone() });
    }
    let of_all = |key: &str| Ok::<_, Error>(number(&below(LINKS).join("all").join(key))?.unwrap_or(0));
    let ipv6 = below("ipv6/conf").exists();
    // Only the first namespace has a `default` for neighbours, and `lo` may lose its IPv6.
    let is_there = |setting: Setting| ["default", "lo"].iter().any(|link| path(setting, link).exists());
    let lacks = |setting: &Setting| (ipv6 || setting.family() == Family::V4) && !is_there(*setting);
    Ok(Host {
        machine_id,
        ipv6,
        arp_ignore: of_all("arp_ignore")?,
        rp_filter: of_all("rp_filter")?,
        route_localnet: of_all("route_localnet")?,
        proxy_arp_pvlan: of_all("proxy_arp_pvlan")?,
        lacks: Setting::ALL.into_iter().filter(lacks).collect(),
        sysctls,
    })
}

fn sysctls() -> Result<Sysctls, Error> {
    let links = below(LINKS);
    if !links.exists() {
        return Ok(Sysctls::Missing);
    }
    let read_only = statvfs(&links)?.flags().contains(FsFlags::ST_RDONLY);
    Ok(if read_only { Sysctls::ReadOnly } else { Sysctls::Usable })
}

/// Whether a link is a Wi-Fi interface.
pub(in crate::kernel) fn is_wireless(link: &str) -> bool {
    let folder = Path::new("/sys/class/net").join(link);
    folder.join("phy80211").exists() || folder.join("wireless").exists()
}

fn path(setting: Setting, link: &str) -> PathBuf {
    below(&setting.path(link))
}

fn below(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

fn number(path: &Path) -> Result<Option<i64>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::new(
                ErrorKind::InvalidData,
                format!("{} is not a number: {:?}", path.display(), text.trim()),
            )
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
