//! The NICs that are served, and the reasons why the others are not.

mod left_out;

pub(super) use self::left_out::left_out;
use crate::model::inventory::{Guest, GuestKind, Mode, Nic, NicParent, Power};
use crate::model::snapshot::{ChildKey, LinkKind};
use crate::model::{Code, LinkIndex, Mac};
use crate::reconcile::facts::Facts;

/// The sentence for a NIC that is served and has nothing to route.
pub const NO_ADDRESS: &str = "it has no address of global scope yet";

/// The decision on one NIC.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The guest does not run.
    Stopped,
    /// It is left out: a code and a sentence.
    Unselected(Code, String),
    /// We cannot serve it: a code and a sentence.
    Unsupported(Code, String),
    /// It is ours to serve, but the kernel does not show it.
    Unseen(String),
    /// It is served. `Held::verdicts` has the verdicts on its addresses.
    Served {
        /// Its place according to the kernel.
        child: ChildKey,
        /// The parent's ifindex according to the kernel.
        parent: LinkIndex,
        /// Its MAC according to the kernel.
        mac: Mac,
    },
}

impl Decision {
    /// The parent's ifindex, if it is served.
    pub fn parent(&self) -> Option<LinkIndex> {
        match self {
            Decision::Served { parent, .. } => Some(*parent),
            _ => None,
        }
    }
}

/// The decision on a NIC, given its entry in the server's list and its child.
pub(super) fn decision(
    facts: &Facts<'_>,
    guest: &Guest,
    told: Option<&Nic>,
    child: Option<&ChildKey>,
) -> Decision {
    if guest.power == Power::Stopped {
        return Decision::Stopped;
    }
    if let Some((code, message)) = left_out(&facts.config.select, guest) {
        return Decision::Unselected(code, message);
    }
    if guest.kind == GuestKind::VirtualMachine {
        let message = "a VM's addresses cannot be seen from the host; virtual machines are not served yet";
        return Decision::Unsupported(Code::Vm, message.to_owned());
    }
    let seen = child.and_then(|key| Some((*key, facts.snapshot.children.get(key)?)));
    let mode = seen.map(|(_, child)| child.mode).or(told.map(|nic| nic.mode));
    if let Some(mode) = mode.filter(|mode| *mode != Mode::Bridge) {
        let message = format!("its macvlan mode is {mode}; only mode bridge can reach the host");
        return Decision::Unsupported(Code::Mode, message);
    }
    let parent = told.map(|nic| &nic.parent);
    match (seen, parent.and_then(|parent| sibling(facts, parent))) {
        (Some((key, child)), _) => Decision::Served { child: key, parent: child.parent, mac: child.mac },
        (None, Some(sibling)) => {
            let message =
                format!("{sibling} is itself a macvlan NIC, so the guest and this host are siblings on it");
            Decision::Unselected(Code::HostIsSibling, message)
        }
        (None, None) => Decision::Unseen(unseen(facts, parent)),
    }
}

/// The name of a parent that is itself a child in mode bridge, of a link in another namespace. The kernel puts
/// the guest's NIC beside it, on that link.
fn sibling<'a>(facts: &Facts<'a>, parent: &NicParent) -> Option<&'a str> {
    let NicParent::Link { name, vlan } = parent else { return None };
    let link = facts.resolve(name, *vlan)?;
    (link.kind == LinkKind::Macvlan(Mode::Bridge) && link.lower.is_none()).then_some(link.name.as_str())
}

/// The reason why the kernel does not show a NIC, given the parent that its server names.
fn unseen(facts: &Facts<'_>, parent: Option<&NicParent>) -> String {
    match parent {
        None => "the kernel shows no macvlan link of it".to_owned(),
        Some(NicParent::Unknown(why)) => why.clone(),
        Some(parent @ NicParent::Link { name, vlan }) => match facts.resolve(name, *vlan) {
            None => format!("its parent {parent} does not exist on this host"),
            Some(_) => format!("the kernel shows no macvlan link of it on {parent}"),
        },
    }
}
