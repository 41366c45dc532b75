//! Virtual machines, whose virtual switch may drop frames of MACs that it does not know.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::{KernelView, Survey};
use crate::model::{Code, Severity};

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::HypervisorMac],
    good: "this is no VM whose switch drops guests' MACs, as far as can be seen",
    find,
};

/// The vendors in the DMI, each with the product's name and what to set.
const HYPERVISORS: &[(&str, &str, &str)] = &[
    (
        "VMware",
        "VMware",
        "port group → Security: Promiscuous mode and Forged transmits: Accept (vSphere 6.7+: MAC learning instead)",
    ),
    ("Microsoft", "Hyper-V", "Set-VMNetworkAdapter -VMName NAME -MacAddressSpoofing On"),
    ("innotek", "VirtualBox", "VBoxManage modifyvm NAME --nicpromisc1 allow-all"),
    ("Oracle", "VirtualBox", "VBoxManage modifyvm NAME --nicpromisc1 allow-all"),
    (
        "QEMU",
        "QEMU or Proxmox",
        "Proxmox: switch the firewall of the VM's NIC off; libvirt: a bridge, or macvtap with trustGuestRxFilters='yes'",
    ),
    ("Parallels", "Parallels", "bridged networking on a wired NIC"),
    ("Xen", "Xen", "allow more than one MAC on the VM's virtual interface"),
];

fn find(survey: &Survey) -> Findings {
    let vendor = survey.machine.dmi.get("sys_vendor").map_or("", String::as_str);
    let known = HYPERVISORS.iter().find(|(prefix, ..)| vendor.starts_with(prefix));
    let Some((_, hypervisor, cure)) = known.filter(|_| survey.machine.is_virtual) else {
        return Ok(Vec::new());
    };
    let view = survey.view()?;
    let mut without: Vec<String> = Vec::new();
    for (parent, _) in view.parents() {
        let guests: Vec<_> = view.served_on(parent.index).collect();
        let has_v4 = view.host_addresses(parent).any(|address| address.is_ipv4());
        if has_v4 && !guests.is_empty() && !guests.iter().any(|(_, _, child)| has_ipv4(child)) {
            without.push(format!("no guest on {} has got an IPv4 address", parent.name));
        }
    }
    let is_silent = !without.is_empty();
    if !is_silent && has_guests(view) {
        return Ok(Vec::new());
    }
    let sentence = format!(
        "this host is a VM of {hypervisor}, whose virtual switch may drop frames of guests unless told to let \
         them pass"
    );
    let finding = Finding::new(Code::HypervisorMac, sentence);
    let finding =
        finding.seen([format!("/sys/class/dmi/id/sys_vendor: {vendor}")]).seen(without).cured_by(*cure);
    // Without a guest there is nothing that does not work.
    Ok(vec![if is_silent { finding } else { finding.at(Severity::Note) }])
}

fn has_guests(view: &KernelView) -> bool {
    view.parents().any(|(parent, _)| view.served_on(parent.index).next().is_some())
}

fn has_ipv4(child: &crate::model::snapshot::Child) -> bool {
    child.addresses.keys().any(|net| net.addr().is_ipv4())
}
