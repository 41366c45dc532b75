//! Links of the host.

use smol_str::SmolStr;

use super::inventory::Mode;
use super::names;
use super::{Code, LinkIndex, Mac};

/// A link in the host's namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Its ifindex.
    pub index: LinkIndex,
    /// Its name.
    pub name: SmolStr,
    /// Its kind.
    pub kind: LinkKind,
    /// Its MAC; `None` for links without an Ethernet address.
    pub mac: Option<Mac>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// It is up and can carry no frame (not `IFF_RUNNING`): it has no carrier, or the link below it has none.
    pub no_carrier: bool,
    /// `IFF_MULTICAST`.
    pub multicast: bool,
    /// It asks and answers with ARP (not `IFF_NOARP`).
    pub arp: bool,
    /// Somebody holds it without carrier (`IFLA_PROTO_DOWN`).
    pub protodown: bool,
    /// `IFLA_GROUP`.
    pub group: u32,
    /// The MAC that its alias says we made it with ([`super::names::made_with`]).
    pub made_with: Option<Mac>,
    /// The ifindex of the link below it (`IFLA_LINK`), if that is in this namespace.
    pub lower: Option<LinkIndex>,
    /// The ifindex of the bridge, bond or VRF that it is a port of.
    pub master: Option<LinkIndex>,
    /// A Wi-Fi interface: a station drops frames to foreign MACs.
    pub wireless: bool,
    /// Its own `arp_ignore`. The kernel goes by the greater of this and
    /// [`super::snapshot::Host::arp_ignore`].
    pub arp_ignore: i64,
}

impl Link {
    /// If this link is one of our shims: the ifindex of its parent. Either mark suffices, so that the other
    /// can be put back. A marked link whose parent has left the namespace counts too, with parent 0, so that
    /// it is cleaned away. A guest's NIC that was marked by its root does not.
    pub fn shim_parent(&self) -> Option<LinkIndex> {
        is_shim(&self.kind, &self.name, self.group, self.made_with)
            .then_some(self.lower.unwrap_or(LinkIndex::NONE))
    }

    /// Why no frame passes a parent, in a sentence; `None` if frames pass.
    pub fn outage(&self) -> Option<(Code, String)> {
        match (self.up, self.no_carrier) {
            (false, _) => Some((Code::ParentDown, format!("{} is down", self.name))),
            (true, true) => Some((Code::NoCarrier, format!("{} has no carrier", self.name))),
            (true, false) => None,
        }
    }
}

/// Whether a link of the host with these properties bears our mark.
pub fn is_shim(kind: &LinkKind, name: &str, group: u32, made_with: Option<Mac>) -> bool {
    matches!(kind, LinkKind::Macvlan(_)) && names::is_marked(name, group, made_with)
}

/// The kinds of link that make a difference to us.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkKind {
    /// A macvlan child.
    Macvlan(Mode),
    /// A macvtap child: a VM's NIC.
    Macvtap(Mode),
    /// A VLAN interface with its id.
    Vlan(u16),
    /// A bridge.
    Bridge,
    /// Any other kind by the kernel's name (`veth`, `bond`, …), empty for a physical NIC.
    Other(SmolStr),
}

impl Default for LinkKind {
    fn default() -> LinkKind {
        LinkKind::Other(SmolStr::default())
    }
}
