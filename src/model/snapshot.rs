//! The kernel's state: the objects of the host's network namespace and the guests' children,
//! each under its kernel key. [`crate::kernel`] fills it; [`crate::reconcile`] reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use smol_str::SmolStr;

pub use super::child::{Child, ChildKey, GuestAddress, Master, Netns, Sources};
use super::inventory::Home;
pub use super::link::{Link, LinkKind, is_shim};
pub use super::routing::{RouteKey, RouteKind, Routing, Rule, is_host};
pub use super::setting::Setting;
use super::{LinkIndex, Mac};

/// The kernel's state, as far as we need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Facts of the host that are no objects.
    pub host: Host,
    /// The links of the host's namespace, by ifindex.
    pub links: BTreeMap<LinkIndex, Link>,
    /// The addresses of the host's namespace.
    pub addresses: BTreeMap<AddressKey, HostAddress>,
    /// The unicast routes of the host that have no gateway or lead to a single host, and all of ours. Also
    /// routes of any kind in the places of our host routes.
    pub routes: BTreeMap<RouteKey, Route>,
    /// The ways of the host's own routes, without ours. Routes to addresses that are meaningful on one link
    /// only are left out.
    pub routing: Routing,
    /// The policy rules of both families.
    pub rules: BTreeSet<Rule>,
    /// The neighbour tables of the host's links: by the neighbour's address and the link's ifindex.
    pub neighbours: BTreeMap<(IpAddr, LinkIndex), Neighbour>,
    /// The proxy neighbour entries of the host's links. The value says whether they bear our mark.
    pub proxies: BTreeMap<(LinkIndex, Ipv6Addr), bool>,
    /// The sysctls of our shims, by ifindex. A setting that the kernel does not have is not in the map.
    pub settings: BTreeMap<LinkIndex, BTreeMap<Setting, i64>>,
    /// The filters of our shims.
    pub filter: Filter,
    /// The namespaces of the homes that were asked for ([`crate::kernel::Kernel::locate`]).
    pub homes: BTreeMap<Home, Netns>,
    /// The macvlan children of the host's links: those in the host's own namespace, without ours, and those
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
    /// `/etc/machine-id`, which the shims' MACs are derived from; empty if there is none.
    pub machine_id: String,
    /// False if IPv6 is off for the whole kernel (`ipv6.disable=1`).
    pub ipv6: bool,
    /// `net.ipv4.conf.all.arp_ignore`. For this and the next three the kernel takes the larger value of `all`
    /// and the link, so no value on a shim undoes them.
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
    /// It does not exist: `/proc` is not mounted, or something hides it.
    Missing,
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
    /// The peer, if it has one. Then the peer's network is on the link, and not the address's own.
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
    /// The fate of packets. All of ours are unicast.
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
    /// Everybody was asked, by us, and nobody has answered. It means less if one machine has not answered to
    /// the kernel, which asks it alone, because anybody who sends with its MAC makes the switch deliver the
    /// question elsewhere.
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
    Asking,
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
        matches!(self, S::Permanent | S::Reachable | S::Stale | S::Asking)
    }
}

/// The nftables table `netdev macvlan_shim`, which decides which frames pass our shims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Filters are possible, and the existing ones are known.
    pub usable: bool,
    /// Why no filter is possible, or which part of it, in a sentence.
    pub lacks: Option<String>,
    /// The filter of each shim, by the ifindex that it was made for. [`LinkIndex::NONE`] has the objects of
    /// our table that belong to no shim. If they are no longer known, those that were last seen.
    pub shims: BTreeMap<LinkIndex, ShimFilter>,
    /// The foreign chains in the family netdev that can drop frames.
    pub foreign: Vec<ForeignChain>,
}

/// A foreign chain at a hook of links, whose table has a rule or policy that drops, forwards or queues
/// frames.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignChain {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The links whose hook it is at, by name.
    pub devices: BTreeSet<String>,
}

/// The filter of one shim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShimFilter {
    /// The name of the link that it was made for.
    pub device: SmolStr,
    /// The MACs of the guests that it lets pass; `None` if it lets anybody pass.
    pub macs: Option<BTreeSet<Mac>>,
    /// The IPv4 addresses that guests may ask for with ARP.
    pub answers: BTreeSet<Ipv4Net>,
    /// Whether nothing of it is missing, and nothing was added or changed.
    pub whole: bool,
}
