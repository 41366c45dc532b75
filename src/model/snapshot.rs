//! What the kernel says exists: the objects of the host's network namespace and the guests' children,
//! each under its kernel key. [`crate::kernel`] fills it; [`crate::reconcile`] reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};

use super::inventory::{Home, Mode};
use super::names;
pub use super::routing::{Action, Hop, RouteKey, RouteKind, Routing, Rule, Way, is_host};
pub use super::setting::Setting;
use super::{LinkIndex, Mac, NetnsId};

/// The kernel's state, as far as we need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Facts of the host that are no objects.
    pub host: Host,
    /// The links of the host's namespace, by ifindex.
    pub links: BTreeMap<LinkIndex, Link>,
    /// The addresses of the host's namespace.
    pub addresses: BTreeMap<AddressKey, HostAddress>,
    /// The unicast routes of the host that have no gateway or lead to a single host, and all of ours; and
    /// those of any kind that stand where ours to a host would.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Where the host's own routes lead, ours aside. Routes to addresses that mean something on one link only are
    /// left out.
    pub routing: Routing,
    /// The policy rules of both families.
    pub rules: BTreeSet<Rule>,
    /// The neighbour tables of the host's links: by the neighbour's address and the link's ifindex.
    pub neighbours: BTreeMap<(IpAddr, LinkIndex), Neighbour>,
    /// The proxy neighbour entries of the host's links; the value tells whether they bear our mark.
    pub proxies: BTreeMap<(LinkIndex, Ipv6Addr), bool>,
    /// The sysctls of our shims, by ifindex. A setting that the kernel does not have is not in the map.
    pub settings: BTreeMap<LinkIndex, BTreeMap<Setting, i64>>,
    /// The filters of our shims.
    pub filter: Filter,
    /// The namespaces of the homes that were asked for ([`crate::kernel::Kernel::locate`]).
    pub homes: BTreeMap<Home, Netns>,
    /// The macvlan children of the host's links: those in the host's own namespace (ours not) and those
    /// in the namespaces of guests.
    pub children: BTreeMap<ChildKey, Child>,
}

impl Snapshot {
    /// The link of that name, if there is one.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Our shims, each with its parent's ifindex.
    pub fn shims(&self) -> impl Iterator<Item = (LinkIndex, &Link)> {
        self.links.values().filter_map(|link| Some((link.shim_parent()?, link)))
    }
}

/// Facts of the host that are no objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// `/etc/machine-id`, from which the shims' MACs are derived; empty where there is none.
    pub machine_id: String,
    /// False where IPv6 is off for the whole kernel (`ipv6.disable=1`).
    pub ipv6: bool,
    /// `net.ipv4.conf.all.arp_ignore`. Of this and of the next three the kernel takes the larger of `all` and
    /// the link, so no value on a shim undoes them.
    pub arp_ignore: i64,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter: i64,
    /// `net.ipv4.conf.all.route_localnet`.
    pub route_localnet: i64,
    /// `net.ipv4.conf.all.proxy_arp_pvlan`.
    pub proxy_arp_pvlan: i64,
    /// The settings that this kernel does not have.
    pub lacks: BTreeSet<Setting>,
    /// Whether they can be read and written at all.
    pub sysctls: Sysctls,
}

/// How much of `/proc/sys/net` can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sysctls {
    /// It can be read and written.
    #[default]
    Usable,
    /// It can only be read: `/proc/sys` is mounted read-only.
    ReadOnly,
    /// It is not there: `/proc` is not mounted, or something hides it.
    Missing,
}

/// A link in the host's namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its ifindex.
    pub index: LinkIndex,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Its MAC; `None` for links without an Ethernet address.
    pub mac: Option<Mac>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// `IFF_MULTICAST`.
    pub multicast: bool,
    /// It asks and answers with ARP (not `IFF_NOARP`).
    pub arp: bool,
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
    /// Its own `arp_ignore`. The kernel goes by the greater of this and [`Host::arp_ignore`].
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
    Other(String),
}

/// The key of an address in the kernel: link, address, prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressKey {
    /// The link's ifindex.
    pub link: LinkIndex,
    /// The address and the length of its prefix, in bits.
    pub address: IpNet,
}

impl AddressKey {
    /// The network that an address with this key is in.
    pub fn network(&self, value: &HostAddress) -> IpNet {
        value.peer.unwrap_or(self.address).trunc()
    }
}

/// An address in the host's namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostAddress {
    /// Usable as a source: not tentative and not failed by duplicate address detection.
    pub usable: bool,
    /// Deprecated: its preferred lifetime is over.
    pub deprecated: bool,
    /// A secondary IPv4 or a temporary IPv6 address.
    pub secondary: bool,
    /// `IFA_PROTO` is ours.
    pub ours: bool,
    /// The peer, if it has one: then that one's network is on the link, and not the address's own.
    pub peer: Option<IpNet>,
}

/// A route of the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    /// The preferred source.
    pub source: Option<IpAddr>,
    /// Its protocol is ours.
    pub ours: bool,
    /// It leads through a gateway.
    pub gateway: bool,
    /// What becomes of packets. All of ours are unicast.
    pub kind: RouteKind,
}

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The MAC; `None` while it is unresolved.
    pub mac: Option<Mac>,
    /// How sure the kernel is.
    pub state: NeighbourState,
    /// Its protocol is ours.
    pub ours: bool,
}

impl Neighbour {
    /// Everybody was asked, by us, and nobody has answered. That one machine has not answered to the kernel,
    /// which asks it alone, says less: whoever sends with its MAC has the switch deliver the question
    /// elsewhere.
    pub fn is_nobodys(&self) -> bool {
        self.ours && self.state == NeighbourState::Failed
    }

    /// Everybody is being asked, by us.
    pub fn is_asked_for(&self) -> bool {
        self.ours && matches!(self.state, NeighbourState::Unresolved | NeighbourState::Disputed)
    }
}

/// The states of a neighbour entry, as far as they make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Set by hand: `NUD_PERMANENT` (and `NUD_NOARP`).
    Permanent,
    /// Confirmed lately: `NUD_REACHABLE`.
    Reachable,
    /// Known but old, and nobody is asking: `NUD_STALE`.
    Stale,
    /// Known but old, and being asked for: `NUD_DELAY`, `NUD_PROBE`.
    Probing,
    /// No answer yet: `NUD_INCOMPLETE` (and `NUD_NONE`).
    Unresolved,
    /// The same, in an entry of ours, and another machine is known to have had it.
    Disputed,
    /// Asked for, and nobody answered: `NUD_FAILED`.
    Failed,
}

impl NeighbourState {
    /// The kernel knows a MAC.
    pub fn is_resolved(self) -> bool {
        use NeighbourState as S;
        matches!(self, S::Permanent | S::Reachable | S::Stale | S::Probing)
    }
}

/// The nftables table `netdev macvlan_shim`, which decides what frames pass our shims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// There can be one, and the existing ones are known.
    pub usable: bool,
    /// Why there can be none, or what it cannot do, in a sentence.
    pub lacks: Option<String>,
    /// The filter of each shim, by the ifindex that it was made for. [`LinkIndex::NONE`] has the objects of
    /// our table that belong to no shim. Where they are no longer known, those that were seen last.
    pub shims: BTreeMap<LinkIndex, ShimFilter>,
    /// The chains of others in the family netdev that can take frames away.
    pub foreign: Vec<ForeignChain>,
}

/// A chain of somebody else at a hook of links, in whose table something drops, forwards or queues frames.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignChain {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The links at whose hook it is, by name.
    pub devices: BTreeSet<String>,
}

/// The filter of one shim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShimFilter {
    /// The name of the link that it was made for.
    pub device: String,
    /// The MACs of the guests that it lets pass; `None` if it lets anybody pass.
    pub macs: Option<BTreeSet<Mac>>,
    /// The IPv4 addresses that guests may ask for with ARP.
    pub answers: BTreeSet<Ipv4Net>,
    /// Nothing of it is missing, and nothing was added or changed.
    pub whole: bool,
}

/// Where a child is: a namespace, and its ifindex there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildKey {
    /// The namespace.
    pub netns: Netns,
    /// Its ifindex there.
    pub index: LinkIndex,
}

impl ChildKey {
    /// Before all others.
    pub const FIRST: ChildKey = ChildKey { netns: Netns::Host, index: LinkIndex::NONE };
    /// After all others.
    pub const LAST: ChildKey = ChildKey { netns: Netns::Id(NetnsId::LAST), index: LinkIndex::LAST };

    /// All of one namespace.
    pub fn all_in(netns: Netns) -> RangeInclusive<ChildKey> {
        ChildKey { netns, index: LinkIndex::NONE }..=ChildKey { netns, index: LinkIndex::LAST }
    }
}

/// A network namespace, as the host's namespace numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Netns {
    /// The host's own.
    Host,
    /// Another, by its netns id.
    Id(NetnsId),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Netns::Host => f.write_str("the host's namespace"),
            Netns::Id(id) => write!(f, "namespace {id}"),
        }
    }
}

/// A macvlan or macvtap link whose parent is a link of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// The parent's ifindex in the host's namespace.
    pub parent: LinkIndex,
    /// Its MAC.
    pub mac: Mac,
    /// Its mode.
    pub mode: Mode,
    /// Its name where it is.
    pub name: String,
    /// macvtap: a VM's NIC.
    pub tap: bool,
    /// Administratively up. Of the children of a parent that are up no two have the same MAC.
    pub up: bool,
    /// The bridge or bond that it is a port of, where it is.
    pub master: Option<Master>,
    /// Whom it overhears, in mode source.
    pub sources: Sources,
    /// Its addresses and its master's, each with the length of its prefix, with what hinders its use.
    pub addresses: BTreeMap<IpNet, GuestAddress>,
}

/// The list of a child in mode source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// The MACs from which it gets all frames, the first few in their order.
    pub macs: BTreeSet<Mac>,
    /// How many there are.
    pub count: usize,
    /// Nobody else gets these frames (`nodst`), even while it is down.
    pub only: bool,
}

/// A bridge or bond of a guest that takes in what comes for its ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Master {
    /// Its ifindex in the guest's namespace.
    pub index: LinkIndex,
    /// Its name there.
    pub name: String,
    /// Its MAC, from which it sends.
    pub mac: Option<Mac>,
}

impl Child {
    /// A link with these properties, of which the addresses are not known yet; `None` if it is of another
    /// kind.
    pub fn of_link(kind: &LinkKind, parent: LinkIndex, mac: Mac, name: &str, up: bool) -> Option<Child> {
        let (mode, tap) = match kind {
            LinkKind::Macvlan(mode) => (*mode, false),
            LinkKind::Macvtap(mode) => (*mode, true),
            _ => return None,
        };
        let (name, addresses) = (name.to_owned(), BTreeMap::new());
        let sources = Sources::default();
        Some(Child { parent, mac, mode, name, tap, up, master: None, sources, addresses })
    }

    /// The two differ in nothing but their addresses.
    pub fn is_same_but_for_addresses(&self, other: &Child) -> bool {
        let Child { parent, mac, mode, name, tap, up, master, sources, addresses: _ } = self;
        (parent, mac, mode, name) == (&other.parent, &other.mac, &other.mode, &other.name)
            && (tap, up, master, sources) == (&other.tap, &other.up, &other.master, &other.sources)
    }
}

/// An address on a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAddress {
    /// In use.
    Settled,
    /// Duplicate address detection is still under way.
    Tentative,
    /// Duplicate address detection failed.
    Duplicate,
}
