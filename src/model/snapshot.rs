//! What the kernel says exists: the objects of the host's network namespace and the guests' children,
//! each under its kernel key. [`crate::kernel`] fills it; [`crate::reconcile`] reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};

use super::Mac;
use super::inventory::Mode;
use super::names::{self, TABLE, TABLE_MAIN};

/// The kernel's state, as far as we need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Facts of the host that are no objects.
    pub host: Host,
    /// The links of the host's namespace, by ifindex.
    pub links: BTreeMap<u32, Link>,
    /// The addresses of the host's namespace.
    pub addresses: BTreeMap<AddressKey, HostAddress>,
    /// The unicast routes of the host that have no gateway or lead to a single host, and all of ours; and those of any
    /// kind that stand where ours to a host would.
    pub routes: BTreeMap<RouteKey, Route>,
    /// The gateway of every route of the host.
    pub next_hops: BTreeSet<IpAddr>,
    /// The policy rules of both families.
    pub rules: BTreeSet<Rule>,
    /// The neighbour tables of the host's links: by the neighbour's address and the link's ifindex.
    pub neighbours: BTreeMap<(IpAddr, u32), Neighbour>,
    /// The proxy neighbour entries of the host's links; the value tells whether they bear our mark.
    pub proxies: BTreeMap<(u32, Ipv6Addr), bool>,
    /// The sysctls of our shims, by ifindex. A setting that the kernel does not have is not in the map.
    pub settings: BTreeMap<u32, BTreeMap<Setting, i64>>,
    /// The filters of our shims.
    pub filter: Filter,
    /// The namespaces of the processes that were asked for ([`crate::kernel::Kernel::locate`]), by process id.
    pub inits: BTreeMap<u32, Netns>,
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
    pub fn shims(&self) -> impl Iterator<Item = (u32, &Link)> {
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
    /// `net.ipv4.conf.all.arp_ignore`.
    pub arp_ignore: i64,
}

/// A link in the host's namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its ifindex.
    pub index: u32,
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
    /// `IFLA_GROUP`.
    pub group: u32,
    /// The MAC that its alias says we made it with ([`super::names::made_with`]).
    pub made_with: Option<Mac>,
    /// The ifindex of the link below it (`IFLA_LINK`), if that is in this namespace.
    pub lower: Option<u32>,
    /// The ifindex of the bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// A Wi-Fi interface: a station drops frames to foreign MACs.
    pub wireless: bool,
    /// Its own `arp_ignore`. The kernel goes by the greater of this and [`Host::arp_ignore`].
    pub arp_ignore: i64,
}

impl Link {
    /// If this link is one of our shims: the ifindex of its parent. Either mark suffices, so that the other can
    /// be put back. A marked link whose parent has left the namespace counts too, with parent 0, so that it is
    /// cleaned away. A guest's NIC that was marked by its root does not.
    pub fn shim_parent(&self) -> Option<u32> {
        is_shim(&self.kind, &self.name, self.group, self.made_with).then_some(self.lower.unwrap_or(0))
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
    pub link: u32,
    /// The address and the length of its prefix, in bits.
    pub address: IpNet,
}

/// An address in the host's namespace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostAddress {
    /// Usable as a source: not tentative and not failed by duplicate address detection.
    pub usable: bool,
    /// Deprecated: its preferred lifetime is over.
    pub deprecated: bool,
    /// A secondary IPv4 or a temporary IPv6 address.
    pub secondary: bool,
    /// `IFA_PROTO` is ours.
    pub ours: bool,
}

/// The key of a route: what the kernel takes two routes for the same by. IPv6 treats the link as part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// The routing table.
    pub table: u32,
    /// The destination.
    pub destination: IpNet,
    /// The priority (metric), as the kernel shows it.
    pub metric: u32,
    /// The outgoing link's ifindex; 0 for a multipath route.
    pub link: u32,
}

impl RouteKey {
    /// The address, if this is a host route in a table that ours go to: the kernel's main table or our own.
    pub fn host(&self) -> Option<IpAddr> {
        (is_host(&self.destination) && (self.table == TABLE_MAIN || self.table == TABLE))
            .then(|| self.destination.addr())
    }
}

/// Whether a range is one address.
pub fn is_host(range: &IpNet) -> bool {
    range.prefix_len() == range.max_prefix_len()
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

/// The kinds of route (`RTN_…`), as far as they make a difference to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of ip; ip-route(8) describes them")]
pub enum RouteKind {
    #[default]
    Unicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    Local,
    /// `broadcast`, `anycast`, `multicast`, `nat`.
    Other,
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteKind::Unicast => "unicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
            RouteKind::Throw => "throw",
            RouteKind::Local => "local",
            RouteKind::Other => "special",
        })
    }
}

/// A policy rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// True for IPv6.
    pub ipv6: bool,
    /// Its place in the order, lowest first.
    pub priority: u32,
    /// The table that it looks up; 0 if it does something else.
    pub table: u32,
    /// Its protocol is ours.
    pub ours: bool,
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
    /// Asked for, and nobody answered: `NUD_FAILED`.
    Failed,
}

/// The sysctls that make a shim quiet, each with its file below `/proc/sys/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the names are the kernel's; Documentation/networking/ip-sysctl.rst describes them"
)]
pub enum Setting {
    ArpFilter,
    RpFilter,
    AcceptRedirects,
    SendRedirects,
    AcceptSourceRoute,
    Solicit,
    Ipv6Disable,
    Ipv6AddrGenMode,
    Ipv6AcceptRa,
    Ipv6AcceptRedirects,
    Ipv6Forwarding,
    Ipv6ProxyNdp,
    Ipv6ProxyDelay,
    Ipv6Solicit,
}

impl Setting {
    /// All of them, in the order in which they are written.
    pub const ALL: [Setting; 14] = [
        Setting::ArpFilter,
        Setting::RpFilter,
        Setting::AcceptRedirects,
        Setting::SendRedirects,
        Setting::AcceptSourceRoute,
        Setting::Solicit,
        Setting::Ipv6Disable,
        Setting::Ipv6AddrGenMode,
        Setting::Ipv6AcceptRa,
        Setting::Ipv6AcceptRedirects,
        Setting::Ipv6Forwarding,
        Setting::Ipv6ProxyNdp,
        Setting::Ipv6ProxyDelay,
        Setting::Ipv6Solicit,
    ];

    /// Belongs to IPv6.
    pub fn is_ipv6(self) -> bool {
        self.place().0 == "ipv6"
    }

    /// Its path below `/proc/sys/net` for one link.
    pub fn path(self, link: &str) -> String {
        let (family, folder, key) = self.place();
        format!("{family}/{folder}/{link}/{key}")
    }

    fn place(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Setting::ArpFilter => ("ipv4", "conf", "arp_filter"),
            Setting::RpFilter => ("ipv4", "conf", "rp_filter"),
            Setting::AcceptRedirects => ("ipv4", "conf", "accept_redirects"),
            Setting::SendRedirects => ("ipv4", "conf", "send_redirects"),
            Setting::AcceptSourceRoute => ("ipv4", "conf", "accept_source_route"),
            Setting::Solicit => ("ipv4", "neigh", "mcast_solicit"),
            Setting::Ipv6Disable => ("ipv6", "conf", "disable_ipv6"),
            Setting::Ipv6AddrGenMode => ("ipv6", "conf", "addr_gen_mode"),
            Setting::Ipv6AcceptRa => ("ipv6", "conf", "accept_ra"),
            Setting::Ipv6AcceptRedirects => ("ipv6", "conf", "accept_redirects"),
            Setting::Ipv6Forwarding => ("ipv6", "conf", "forwarding"),
            Setting::Ipv6ProxyNdp => ("ipv6", "conf", "proxy_ndp"),
            Setting::Ipv6ProxyDelay => ("ipv6", "neigh", "proxy_delay"),
            Setting::Ipv6Solicit => ("ipv6", "neigh", "mcast_solicit"),
        }
    }
}

/// The nftables table `netdev macvlan_shim`, which decides what frames pass our shims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// There can be one, and what stands is known.
    pub usable: bool,
    /// Why there can be none, or what it cannot do, in a sentence.
    pub lacks: Option<String>,
    /// The filter of each shim, by the ifindex that it was made for. Where they are no longer known, those that were
    /// seen last.
    pub shims: BTreeMap<u32, ShimFilter>,
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
    pub index: u32,
}

impl ChildKey {
    /// Before all others.
    pub const FIRST: ChildKey = ChildKey { netns: Netns::Host, index: 0 };
    /// After all others.
    pub const LAST: ChildKey = ChildKey { netns: Netns::Id(i32::MAX), index: u32::MAX };

    /// All of one namespace.
    pub fn all_in(netns: Netns) -> RangeInclusive<ChildKey> {
        ChildKey { netns, index: 0 }..=ChildKey { netns, index: u32::MAX }
    }
}

/// A network namespace, as the host's namespace numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Netns {
    /// The host's own.
    Host,
    /// Another, by its netns id.
    Id(i32),
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
    pub parent: u32,
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
    /// Its addresses and its master's, each with the length of its prefix, with what hinders its use.
    pub addresses: BTreeMap<IpNet, GuestAddress>,
}

/// A bridge or bond of a guest that takes in what comes for its ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Master {
    /// Its ifindex in the guest's namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// Its MAC, from which it sends.
    pub mac: Option<Mac>,
}

impl Child {
    /// A link with these properties, of which the addresses are not known yet; `None` if it is of another kind.
    pub fn of_link(kind: &LinkKind, parent: u32, mac: Mac, name: &str, up: bool) -> Option<Child> {
        let (mode, tap) = match kind {
            LinkKind::Macvlan(mode) => (*mode, false),
            LinkKind::Macvtap(mode) => (*mode, true),
            _ => return None,
        };
        let (name, addresses) = (name.to_owned(), BTreeMap::new());
        Some(Child { parent, mac, mode, name, tap, up, master: None, addresses })
    }

    /// The two differ in nothing but their addresses.
    pub fn is_same_but_for_addresses(&self, other: &Child) -> bool {
        let Child { parent, mac, mode, name, tap, up, master, addresses: _ } = self;
        (parent, mac, mode, name) == (&other.parent, &other.mac, &other.mode, &other.name)
            && (tap, up, master) == (&other.tap, &other.up, &other.master)
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
