//! MACs that two machines have.

use std::collections::BTreeMap;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::inventory::Power;
use crate::model::{Code, Mac};

/// The check.
pub(super) const CHECK: Check =
    Check { codes: &[Code::MacDuplicate], good: "no two machines have one MAC, as far as can be seen", find };

fn find(survey: &Survey) -> Findings {
    let view = survey.view()?;
    let mut found = Vec::new();
    let mut nics: BTreeMap<(Mac, String), Vec<String>> = BTreeMap::new();
    for (key, guest) in survey.all_guests()?.filter(|(_, guest)| guest.power == Power::Running) {
        for nic in guest.nics.told() {
            if let Some(mac) = nic.mac.filter(|mac| !mac.is_virtual_routers()) {
                nics.entry((mac, nic.parent.to_string())).or_default().push(format!("{key} {}", nic.name));
            }
        }
    }
    for ((mac, parent), nics) in nics.into_iter().filter(|(_, nics)| nics.len() > 1) {
        let sentence = format!("{} on {parent} have one MAC, {mac}", nics.join(" and "));
        let cure = "unset volatile.NIC.hwaddr (or hwaddr) of all but one of them, and restart it";
        found.push(Finding::new(Code::MacDuplicate, sentence).cured_by(cure));
    }
    // The host's own MAC, or that of a shim, at a neighbour that the LAN has shown to the parent.
    for ((address, on), neighbour) in &view.snapshot.neighbours {
        let Some(parent) = view.snapshot.links.get(on).filter(|link| link.shim_parent().is_none()) else {
            continue;
        };
        let twin = view.snapshot.links.values().find(|link| {
            let is_here = link.index == *on || link.shim_parent() == Some(*on);
            is_here && link.mac.is_some() && link.mac == neighbour.mac
        });
        if let (Some(twin), true) = (twin, neighbour.state.is_resolved()) {
            let (name, mac) = (&twin.name, twin.mac.map_or_else(String::new, |mac| mac.to_string()));
            let sentence =
                format!("another machine on the LAN of {} has the MAC of {name}, {mac}", parent.name);
            let finding =
                Finding::new(Code::MacDuplicate, sentence).seen([format!("{address} answers from {mac}")]);
            found.push(finding.cured_by(
                "if it is a copy of this host: rm /etc/machine-id && systemd-machine-id-setup, then reboot it",
            ));
        }
    }
    Ok(found)
}
