//! The operations that turn a snapshot into the desired state.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use smol_str::SmolStr;

use super::names::{FILTER_TABLE, TABLE_MAIN};
use super::snapshot::{Link, Setting, is_host};
use super::{Family, LinkIndex, Mac};

/// The ordered difference between what should exist and what exists.
pub type Plan = Vec<Step>;

/// The scope of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// These addresses of guests.
    Addresses(BTreeSet<IpAddr>),
}

/// One operation of a plan, and when it may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change.
    pub op: Op,
    /// The time.
    pub when: When,
    /// The reason, for people.
    pub why: String,
}

/// When a step may run, the longest wait last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// At once.
    Now,
    /// After 20 ms in which it was due without a break: the address moved to another guest. A DHCP renewal
    /// would have brought it back by then, and a VRRP takeover must not wait longer.
    AfterBlink,
    /// After 200 ms in which its object was surplus without a break, because a DHCP renewal takes an address
    /// away for a millisecond.
    AfterBreath,
}

impl When {
    /// Not at once.
    pub fn waits(self) -> bool {
        self != When::Now
    }
}

/// A link: by ifindex if it exists, by name if a plan creates it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkRef {
    /// Its name.
    pub name: SmolStr,
    /// Its ifindex; `None` until it is created.
    pub index: Option<LinkIndex>,
}

impl LinkRef {
    /// A link that exists.
    pub fn standing(name: impl Into<SmolStr>, index: LinkIndex) -> LinkRef {
        LinkRef { name: name.into(), index: Some(index) }
    }
}

impl From<&Link> for LinkRef {
    fn from(link: &Link) -> LinkRef {
        LinkRef::standing(link.name.clone(), link.index)
    }
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One change of the kernel's state: one write, or the few that belong together. "Exists already and is
/// equal" and "gone already" are success.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are named after the vocabulary and shown by Display")]
pub enum Op {
    /// Makes a shim: macvlan in bridge mode, marked, down.
    CreateShim { shim: LinkRef, parent: LinkRef, mac: Mac, mtu: u32 },
    /// Gives a shim of ours another name.
    Rename { link: LinkRef, name: SmolStr },
    /// Puts both marks on a shim: the link group, and the alias with the MAC that it was made with.
    Mark { shim: LinkRef, mac: Mac },
    /// Gives a shim back the MAC that it was made with, because guests remember it. Its neighbour entries
    /// stay.
    SetMac { shim: LinkRef, mac: Mac },
    /// Changes a shim's MTU, in bytes.
    SetMtu { shim: LinkRef, mtu: u32 },
    /// Gives a shim the flags that it should have: no `IFF_MULTICAST`, so that the kernel sends no group
    /// reports of its own, and no `IFF_NOARP`, so that guests can ask for the host. Where protodown is on, it
    /// is cleared, and the reasons for it.
    SetFlags { shim: LinkRef, protodown: bool },
    /// Writes one sysctl of a shim.
    Set { shim: LinkRef, setting: Setting, value: i64 },
    /// Gives a shim an own address, with the length of its prefix. It makes no route.
    AddAddress { shim: LinkRef, address: IpNet },
    /// Lets a shim answer neighbour solicitations for an address of the host.
    AddProxy { shim: LinkRef, address: Ipv6Addr },
    /// Makes a permanent neighbour entry, or changes its MAC.
    SetNeighbour { shim: LinkRef, address: IpAddr, mac: Mac },
    /// Lets only the frames of these guests pass a shim (`None`: frames of anybody), and only ARP questions
    /// about `answers`.
    SetFilter { shim: LinkRef, macs: Option<BTreeSet<Mac>>, answers: BTreeSet<Ipv4Net> },
    /// Sets a shim up.
    SetUp { shim: LinkRef },
    /// Makes a route through a shim. `replace` only if the existing route is ours.
    SetRoute { shim: LinkRef, destination: IpNet, source: Option<IpAddr>, table: u32, replace: bool },
    /// Makes the rule that looks up our own table.
    AddRule { family: Family, priority: u32 },
    /// Asks everybody on the LAN who has an address, whatever is known. `disputed`: another machine is known
    /// to have it, and counts as the owner until nobody has answered.
    Ask { link: LinkRef, address: IpAddr, disputed: bool },
    /// Deletes our rule.
    DeleteRule { family: Family, priority: u32 },
    /// Deletes a route of ours.
    DeleteRoute { link: LinkRef, destination: IpNet, table: u32, metric: u32 },
    /// Deletes a neighbour entry of ours.
    DeleteNeighbour { link: LinkRef, address: IpAddr },
    /// Hands an entry that our question has made over to the kernel, which keeps it while the host needs it.
    ReleaseNeighbour { link: LinkRef, address: IpAddr },
    /// Deletes a proxy neighbour entry of ours.
    DeleteProxy { link: LinkRef, address: Ipv6Addr },
    /// Deletes an own address of a shim.
    DeleteAddress { link: LinkRef, address: IpNet },
    /// Deletes a shim.
    DeleteShim { link: LinkRef },
    /// Deletes the filter of a shim. With the `last` one the table goes too.
    DeleteFilter { link: LinkRef, last: bool },
}

impl Op {
    /// Its link. Rules have none.
    pub fn link(&self) -> Option<&LinkRef> {
        match self {
            Op::CreateShim { shim: link, .. }
            | Op::Rename { link, .. }
            | Op::Mark { shim: link, .. }
            | Op::SetMac { shim: link, .. }
            | Op::SetMtu { shim: link, .. }
            | Op::SetFlags { shim: link, .. }
            | Op::Set { shim: link, .. }
            | Op::AddAddress { shim: link, .. }
            | Op::AddProxy { shim: link, .. }
            | Op::SetNeighbour { shim: link, .. }
            | Op::SetFilter { shim: link, .. }
            | Op::SetUp { shim: link }
            | Op::SetRoute { shim: link, .. }
            | Op::Ask { link, .. }
            | Op::DeleteRoute { link, .. }
            | Op::DeleteNeighbour { link, .. }
            | Op::ReleaseNeighbour { link, .. }
            | Op::DeleteProxy { link, .. }
            | Op::DeleteAddress { link, .. }
            | Op::DeleteShim { link }
            | Op::DeleteFilter { link, .. } => Some(link),
            Op::AddRule { .. } | Op::DeleteRule { .. } => None,
        }
    }

    /// Its destination, if it has one. An address is a destination of full length.
    pub fn destination(&self) -> Option<IpNet> {
        match self {
            Op::AddAddress { address, .. } | Op::DeleteAddress { address, .. } => {
                Some(IpNet::from(address.addr()))
            }
            Op::AddProxy { address, .. } | Op::DeleteProxy { address, .. } => {
                Some(IpNet::from(IpAddr::from(*address)))
            }
            Op::SetRoute { destination, .. } | Op::DeleteRoute { destination, .. } => Some(*destination),
            _ => self.address().map(IpNet::from),
        }
    }

    /// Its link, by the name that it has afterwards, and its destination on that link if it has one.
    pub fn object(&self) -> (&str, Option<IpNet>) {
        let name = match self {
            Op::Rename { name, .. } => name,
            _ => self.link().map_or("", |link| &link.name),
        };
        (name, self.destination())
    }

    /// The guest's address, if it is about one alone.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Op::SetNeighbour { address, .. }
            | Op::Ask { address, .. }
            | Op::DeleteNeighbour { address, .. }
            | Op::ReleaseNeighbour { address, .. } => Some(*address),
            Op::SetRoute { destination, .. } | Op::DeleteRoute { destination, .. } => {
                is_host(destination).then(|| destination.addr())
            }
            _ => None,
        }
    }

    /// The kind of object that it is about, and what it does with it.
    pub fn kind_and_action(&self) -> (&'static str, &'static str) {
        match self {
            Op::CreateShim { .. } => ("shim", "add"),
            Op::Rename { .. }
            | Op::Mark { .. }
            | Op::SetMac { .. }
            | Op::SetMtu { .. }
            | Op::SetFlags { .. }
            | Op::SetUp { .. } => ("shim", "change"),
            Op::DeleteShim { .. } => ("shim", "delete"),
            Op::Set { .. } => ("sysctl", "change"),
            Op::AddAddress { .. } => ("address", "add"),
            Op::DeleteAddress { .. } => ("address", "delete"),
            Op::AddProxy { .. } => ("proxy", "add"),
            Op::DeleteProxy { .. } => ("proxy", "delete"),
            Op::SetNeighbour { .. } => ("neighbour", "set"),
            Op::ReleaseNeighbour { .. } => ("neighbour", "change"),
            Op::DeleteNeighbour { .. } => ("neighbour", "delete"),
            Op::Ask { .. } => ("neighbour", "ask"),
            Op::SetFilter { .. } => ("filter", "set"),
            Op::DeleteFilter { .. } => ("filter", "delete"),
            Op::SetRoute { replace: false, .. } => ("route", "add"),
            Op::SetRoute { replace: true, .. } => ("route", "change"),
            Op::DeleteRoute { .. } => ("route", "delete"),
            Op::AddRule { .. } => ("rule", "add"),
            Op::DeleteRule { .. } => ("rule", "delete"),
        }
    }

    /// Whether it takes something away.
    pub fn deletes(&self) -> bool {
        matches!(
            self,
            Op::DeleteRule { .. }
                | Op::DeleteRoute { .. }
                | Op::DeleteNeighbour { .. }
                | Op::ReleaseNeighbour { .. }
                | Op::DeleteProxy { .. }
                | Op::DeleteAddress { .. }
                | Op::DeleteShim { .. }
                | Op::DeleteFilter { .. }
        )
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::CreateShim { shim, parent, mac, mtu } => {
                write!(f, "create shim {shim} on {parent} with MAC {mac} and MTU {mtu}")
            }
            Op::Rename { link, name } => write!(f, "rename {link} to {name}"),
            Op::Mark { shim, mac } => write!(f, "mark {shim} as ours, made with MAC {mac}"),
            Op::SetMac { shim, mac } => write!(f, "set the MAC of {shim} to {mac}"),
            Op::SetMtu { shim, mtu } => write!(f, "set the MTU of {shim} to {mtu}"),
            Op::SetFlags { shim, protodown: false } => write!(f, "set multicast off and ARP on at {shim}"),
            Op::SetFlags { shim, protodown: true } => {
                write!(f, "set multicast off, ARP on and protodown off at {shim}")
            }
            Op::Set { shim, setting, value } => {
                write!(f, "set net.{} to {value}", setting.path(&shim.name).replace('/', "."))
            }
            Op::AddAddress { shim, address } if is_host(address) => {
                write!(f, "add address {} to {shim}", address.addr())
            }
            Op::AddAddress { shim, address } => write!(f, "add address {address} to {shim}"),
            Op::AddProxy { shim, address } => write!(f, "let {shim} answer for the host's {address}"),
            Op::SetNeighbour { shim, address, mac } => {
                write!(f, "set neighbour {address} at {mac} on {shim}")
            }
            Op::SetFilter { shim, macs: None, .. } => write!(f, "filter the frames of guests to {shim}"),
            Op::SetFilter { shim, macs: Some(macs), .. } => {
                let all: Vec<String> = macs.iter().map(Mac::to_string).collect();
                let some = match all.len() {
                    0 => "nobody".to_owned(),
                    1..=3 => all.join(", "),
                    many => format!("{many} guests"),
                };
                write!(f, "let only frames of {some} pass {shim}")
            }
            Op::SetUp { shim } => write!(f, "set {shim} up"),
            Op::SetRoute { shim, destination, source, table, replace } => {
                let verb = if *replace { "replace" } else { "add" };
                write!(f, "{verb} route {destination} through {shim}")?;
                if let Some(source) = source {
                    write!(f, " from {source}")?;
                }
                show_table(f, *table)
            }
            Op::AddRule { family, priority } => {
                write!(f, "add {family} rule {priority}: look up table {}", super::names::TABLE)
            }
            Op::Ask { link, address, disputed: false } => {
                write!(f, "ask the LAN on {link} who holds {address}")
            }
            Op::Ask { link, address, disputed: true } => {
                write!(f, "ask the LAN on {link} whether another machine still holds {address}")
            }
            Op::DeleteRule { family, priority } => write!(f, "delete {family} rule {priority}"),
            Op::DeleteRoute { link, destination, table, .. } => {
                write!(f, "delete route {destination} through {link}")?;
                show_table(f, *table)
            }
            Op::DeleteNeighbour { link, address, .. } => {
                write!(f, "delete neighbour {address} on {link}")
            }
            Op::ReleaseNeighbour { link, address, .. } => {
                write!(f, "leave neighbour {address} on {link} to the kernel")
            }
            Op::DeleteProxy { link, address, .. } => {
                write!(f, "no longer let {link} answer for {address}")
            }
            Op::DeleteAddress { link, address, .. } => {
                write!(f, "delete address {} from {link}", address.addr())
            }
            Op::DeleteShim { link, .. } => write!(f, "delete shim {link}"),
            Op::DeleteFilter { link: LinkRef { index: Some(LinkIndex::NONE), .. }, .. } => {
                write!(f, "delete everything without a shim from the table {FILTER_TABLE}")
            }
            Op::DeleteFilter { link, .. } => write!(f, "delete the filter of {link}"),
        }
    }
}

fn show_table(f: &mut fmt::Formatter<'_>, table: u32) -> fmt::Result {
    if table == TABLE_MAIN { Ok(()) } else { write!(f, " in table {table}") }
}

/// The progress of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// It has begun. [`crate::kernel::Kernel::ended`] reports its end.
    Begun,
}
