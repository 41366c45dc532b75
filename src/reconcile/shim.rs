//! What a shim should be: its name, its MAC.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::ground::Ground;
use crate::model::inventory::Mode;
use crate::model::names::{shim_name, spare_name};
use crate::model::snapshot::{Link, LinkKind};
use crate::model::{Code, Mac};

/// Why no shim can stand on a parent: a code, a sentence, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Its code in the catalogue.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// The obstacle to a shim on a parent, if there is one that can be seen beforehand.
pub(super) fn obstacle(ground: &Ground<'_>, parent: &Link) -> Option<Obstacle> {
    let name = &parent.name;
    let links = &ground.snapshot.links;
    if ground.shim(parent.index).is_some() {
        return None; // What stands is proof enough.
    }
    if parent.wireless {
        return Some(Obstacle {
            code: Code::ParentWifi,
            message: format!(
                "{name} is a Wi-Fi interface: access points drop frames from any MAC but its own"
            ),
            hint: "use a wired parent, or a bridged network for these guests".to_owned(),
        });
    }
    if let Some(master) =
        parent.master.and_then(|master| links.get(&master)).filter(|m| m.kind == LinkKind::Bridge)
    {
        let master = &master.name;
        return Some(Obstacle {
            code: Code::ParentIsPort,
            message: format!(
                "{name} is a port of the bridge {master}, and a bridge port cannot carry macvlan"
            ),
            hint: format!("make {master} the parent of these NICs"),
        });
    }
    if parent.mac.is_none() {
        return Some(Obstacle {
            code: Code::ParentNotEthernet,
            message: format!("{name} has no Ethernet address and cannot carry macvlan"),
            hint: "use an Ethernet interface, bond, bridge or VLAN as parent".to_owned(),
        });
    }
    let passthru =
        |child: &&crate::model::snapshot::Child| child.parent == parent.index && child.mode == Mode::Passthru;
    if let Some(child) = ground.snapshot.children.values().find(passthru) {
        return Some(Obstacle {
            code: Code::ParentPassthru,
            message: format!("{name} belongs to one guest alone ({}, a macvlan in passthru mode)", child.mac),
            hint: "use mode bridge for that guest's NIC".to_owned(),
        });
    }
    name_taken(ground, name)
}

/// The name of the shim on a parent. One that stands goes by its spare name where a link that is not ours has the
/// right one.
pub(super) fn name(ground: &Ground<'_>, parent: &Link) -> String {
    let right = shim_name(&parent.name);
    match ground.shim(parent.index) {
        Some(standing) if foreign(ground, &right).is_some() => spare_name(standing.index),
        _ => right,
    }
}

/// A link of that name that is not ours. Ours makes way: it is renamed, or nobody needs it.
fn foreign<'a>(ground: &Ground<'a>, name: &str) -> Option<&'a Link> {
    ground.snapshot.link_named(name).filter(|link| link.shim_parent().is_none())
}

/// The shim's name is a foreign link's.
fn name_taken(ground: &Ground<'_>, parent: &str) -> Option<Obstacle> {
    let wanted = shim_name(parent);
    let taken = foreign(ground, &wanted)?;
    Some(Obstacle {
        code: Code::NameTaken,
        message: format!(
            "an interface {wanted} (ifindex {}) exists and is not ours, so no shim can stand on {parent}",
            taken.index
        ),
        hint: format!(
            "if nothing needs it: ip link delete {wanted}; else rename it: ip link set {wanted} name …"
        ),
    })
}

/// The MAC of a new shim: locally administered, the same after every reboot, and free on this host.
pub(super) fn mac(ground: &Ground<'_>, parent: &Link, refused: &BTreeSet<Mac>) -> Mac {
    let links = ground.snapshot.links.values().filter_map(|link| link.mac);
    let children = ground.snapshot.children.values().map(|child| child.mac);
    let taken: BTreeSet<Mac> = links.chain(children).chain(refused.iter().copied()).collect();
    let mut counter: u32 = 0;
    loop {
        let mac = hashed_mac(&ground.snapshot.host.machine_id, parent, counter);
        if !taken.contains(&mac) {
            return mac;
        }
        counter += 1;
    }
}

fn hashed_mac(machine_id: &str, parent: &Link, counter: u32) -> Mac {
    let mut hash = Sha256::new();
    hash.update(machine_id.as_bytes());
    hash.update([0]);
    hash.update(parent.name.as_bytes());
    hash.update([0]);
    hash.update(parent.mac.unwrap_or(Mac([0; 6])).0);
    hash.update(counter.to_be_bytes());
    let digest = hash.finalize();
    // Locally administered, unicast.
    Mac([(digest[0] & 0xfc) | 0x02, digest[1], digest[2], digest[3], digest[4], digest[5]])
}
