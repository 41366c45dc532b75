//! The reasons why no shim is possible on a parent.

use super::Facts;
use crate::model::Code;
use crate::model::inventory::Mode;
use crate::model::names::shim_name;
use crate::model::snapshot::{Child, Link, LinkKind};

/// The reason why no shim is possible on a parent: a code, a sentence, and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Its code in the catalogue.
    pub code: Code,
    /// The fault.
    pub message: String,
    /// The cure.
    pub hint: String,
}

/// The obstacle to a shim on a parent, if one can be seen beforehand.
pub(in crate::reconcile) fn obstacle(facts: &Facts<'_>, parent: &Link) -> Option<Obstacle> {
    let name = &parent.name;
    let links = &facts.snapshot.links;
    if facts.shim(parent.index).is_some() {
        return None; // A shim that exists is proof enough.
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
    let passthru = |child: &&Child| child.parent == parent.index && child.mode == Mode::Passthru;
    if let Some(child) = facts.snapshot.children.values().find(passthru) {
        return Some(Obstacle {
            code: Code::ParentPassthru,
            message: format!("{name} belongs to one guest alone ({}, a macvlan in passthru mode)", child.mac),
            hint: "use mode bridge for that guest's NIC".to_owned(),
        });
    }
    name_taken(facts, name)
}

/// A foreign link of that name. A link of ours makes way: it is renamed, or nobody needs it.
pub(in crate::reconcile) fn foreign<'a>(facts: &Facts<'a>, name: &str) -> Option<&'a Link> {
    facts.snapshot.link_named(name).filter(|link| link.shim_parent().is_none())
}

/// The shim's name belongs to a foreign link.
fn name_taken(facts: &Facts<'_>, parent: &str) -> Option<Obstacle> {
    let wanted = shim_name(parent);
    let taken = foreign(facts, &wanted)?;
    Some(Obstacle {
        code: Code::NameTaken,
        message: format!(
            "an interface {wanted} (ifindex {}) exists and is not ours, so {parent} cannot get a shim",
            taken.index
        ),
        hint: format!(
            "if nothing needs it: ip link delete {wanted}; else rename it: ip link set {wanted} name …"
        ),
    })
}
