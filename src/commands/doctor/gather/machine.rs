//! The machine and its system.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::doctor::survey::Machine;
use crate::model::text;

/// The fields of the firmware that tell machines apart.
const DMI: [&str; 5] = ["sys_vendor", "product_name", "bios_vendor", "board_vendor", "chassis_asset_tag"];

/// The words of the firmware and of cloud-init. A file may be missing.
pub(super) fn machine(root: &Path) -> Machine {
    let read = |path: &str| Some(text::words(fs::read_to_string(root.join(path)).ok()?.trim()));
    let dmi: BTreeMap<String, String> = DMI
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), read(&format!("sys/class/dmi/id/{field}"))?)))
        .collect();
    let is_hypervisors =
        |line: &str| line.starts_with("flags") && line.split(' ').any(|flag| flag == "hypervisor");
    let processors = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    // Processors of ARM have no such flag, and the vendors of virtual machines are known by name there too.
    let is_named = dmi
        .get("sys_vendor")
        .is_some_and(|vendor| vendor.starts_with("QEMU") || vendor.starts_with("VMware"));
    let is_virtual = processors.lines().any(is_hypervisors) || is_named;
    Machine { dmi, cloud: read("run/cloud-init/cloud-id").filter(|id| !id.is_empty()), is_virtual }
}

/// The distribution, and the kernel's release.
pub(super) fn system(root: &Path) -> (String, String) {
    let os_release = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map(|name| text::words(name.trim_matches('"'))).unwrap_or_default();
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    (name, text::words(release.trim()))
}
