//! Random worlds. Few links, few MACs, few addresses: everything collides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use macvlan_shim::config::{Config, Metrics, Parent, Policy, Probe, Select, Shim};
use macvlan_shim::model::inventory::{
    Guest, GuestKind, Home, Inventory, Mode, Nic, NicParent, Nics, OptOut, Power, Server, ServerId,
    ServerState,
};
use macvlan_shim::model::names::LINK_GROUP;
use macvlan_shim::model::names::metric;
use macvlan_shim::model::routing::{Action, Hop, Way};
use macvlan_shim::model::snapshot::{
    AddressKey, Child, ChildKey, GuestAddress, HostAddress, Link, LinkKind, Master, Neighbour,
    NeighbourState, Netns, Route, RouteKey, RouteKind, Rule, Setting, ShimFilter, Snapshot, Sources, is_host,
};
use macvlan_shim::model::{Family, LinkIndex, LinkRef, Mac, NetnsId, Op};
use macvlan_shim::reconcile::{Inputs, Memory, desire, diff};
use proptest::prelude::*;
use proptest::sample::select;

use crate::in_memory_kernel::{InMemoryKernel, default_settings};
use crate::listed;

/// Addresses of the host that a random configuration may route as ranges.
pub(crate) const CONFIGURED_HOST_RANGES: [&str; 1] = ["10.0.0.4"];

const PARENTS: [LinkIndex; 3] = [LinkIndex(2), LinkIndex(3), LinkIndex(4)];
const NAMES: [&str; 3] = ["eth0", "eth1", "eth0.5"];
pub(crate) const ADDRESSES: [&str; 14] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.254",
    "10.0.0.255",
    "10.0.1.2",
    "192.0.2.9",
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd01::9",
    "fe80::2",
];

/// A machine on the LAN that is no guest.
pub(crate) const LAN_MACHINE: Mac = Mac([2, 0, 0x5e, 0, 0, 9]);

/// Everything that the decision is based on.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) inventory: Inventory,
    pub(crate) kernel: InMemoryKernel,
}

/// A world: a plain host with guests, often served by an earlier process already, and the events since then.
pub(crate) fn world() -> impl Strategy<Value = World> {
    let untold = prop::bool::weighted(0.1);
    let guest = (guest(Just("")), untold, children(), prop::option::of(sibling()));
    let guests = prop::collection::vec(guest, 1..4);
    let events = prop::collection::vec(event(), 0..16);
    (config(), prop::bool::weighted(0.9), 0i64..4, guests, 0..3, events).prop_map(
        |(config, ipv6, arp_ignore, guests, served, events)| {
            let kernel = plain_host(ipv6, arp_ignore);
            let mut world = World { config, inventory: Inventory::default(), kernel };
            for ((mut guest, untold, children, sibling), name) in guests.into_iter().zip(["a", "b", "c"]) {
                guest.name = name.into();
                let mut siblings: Vec<Event> = sibling.into_iter().collect();
                for (nic, mut child) in guest.nics.told().iter().zip(children) {
                    if let Event::Child { mac, parent, .. } = &mut child {
                        *mac = nic.mac.unwrap_or(*mac);
                        *parent = if nic.parent.to_string() == "eth1" { LinkIndex(3) } else { LinkIndex(2) };
                    }
                    for sibling in &mut siblings {
                        sibling.stands_beside(&child);
                    }
                    if let Event::Child { key: ChildKey { netns: Netns::Id(NetnsId(id)), .. }, .. } = &child
                        && untold
                    {
                        guest.home = Home::Pid(1000 + id.unsigned_abs());
                    }
                    child.happen(&mut world.kernel, &mut world.inventory);
                }
                for sibling in &siblings {
                    sibling.happen(&mut world.kernel, &mut world.inventory);
                }
                if untold {
                    guest.nics = Nics::AllInItsNamespace;
                }
                Event::Guest { server: "lxd", guest }.happen(&mut world.kernel, &mut world.inventory);
            }
            if served > 0 {
                world.serve();
            }
            for event in events {
                event.happen(&mut world.kernel, &mut world.inventory);
            }
            world
        },
    )
}

fn children() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(child(prop_oneof![20 => Just(Mode::Bridge), 1 => Just(Mode::Private)]), 2)
}

/// A link that a guest makes beside its NIC.
fn sibling() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![3 => Just(Mode::Bridge), 3 => Just(Mode::Private), 1 => Just(Mode::Source)];
    (child(mode), 6u8..9).prop_map(|(mut sibling, last)| {
        if let Event::Child { mac, .. } = &mut sibling {
            *mac = Mac([0, 0x16, 0x3e, 0, 0, last]);
        }
        sibling
    })
}

impl World {
    /// The input of a decision where the kernel shows this.
    pub(crate) fn inputs<'a>(&'a self, snapshot: &'a Snapshot, now: Instant) -> Inputs<'a> {
        Inputs { config: &self.config, inventory: &self.inventory, snapshot, now }
    }

    /// An earlier process did its work.
    fn serve(&mut self) {
        let (desired, _) = desire(&self.inputs(&self.kernel.snapshot, Instant::now()), &Memory::default());
        for step in diff(&desired, &self.kernel.snapshot) {
            let _ = self.kernel.apply(&step.op);
        }
    }
}

pub(crate) fn plain_host(ipv6: bool, arp_ignore: i64) -> InMemoryKernel {
    let mut snapshot = Snapshot::default();
    snapshot.host.ipv6 = ipv6;
    snapshot.host.arp_ignore = arp_ignore;
    snapshot.filter.usable = true;
    snapshot.homes =
        (0i32..4).map(|id| (Home::Pid(1000 + id.unsigned_abs()), Netns::Id(NetnsId(id)))).collect();
    for (index, name) in PARENTS.into_iter().zip(NAMES) {
        snapshot.links.insert(index, link(index, name, LinkKind::default()));
    }
    if let Some(vlan) = snapshot.links.get_mut(&LinkIndex(4)) {
        vlan.kind = LinkKind::Vlan(5);
        vlan.lower = Some(LinkIndex(2));
    }
    for family in Family::ALL {
        for (priority, table) in [(0, 255), (32766, 254)] {
            snapshot.rules.insert(Rule::look_up(family, priority, table));
        }
    }
    let addresses = [(2, "10.0.0.1/24"), (2, "fd00::1/64"), (3, "10.0.0.200/24")];
    let mut kernel = InMemoryKernel::new(snapshot);
    for (link, address) in addresses.into_iter().filter(|(_, address)| ipv6 || !address.contains(':')) {
        let key = AddressKey { link: LinkIndex(link), address: address.parse().unwrap() };
        kernel.add_address(key, HostAddress { usable: true, ..HostAddress::default() });
    }
    kernel
}

/// A host with one uplink in a wide network.
pub(crate) fn cost_host() -> InMemoryKernel {
    let mut kernel = plain_host(true, 0);
    for address in ["10.0.0.1/16", "fd00::1/64"] {
        let key = AddressKey { link: LinkIndex(2), address: address.parse().unwrap() };
        kernel.add_address(key, HostAddress { usable: true, ..HostAddress::default() });
    }
    kernel
}

fn link(index: LinkIndex, name: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name.into(),
        kind,
        mac: Some(Mac([0x52, 0x54, 0, 0, 0, u8::try_from(index.0).unwrap()])),
        mtu: 1500,
        up: true,
        multicast: true,
        arp: true,
        ..Link::default()
    }
}

fn config() -> impl Strategy<Value = Config> {
    let own =
        || prop::collection::vec(prop_oneof![Just("10.0.0.3"), Just("10.0.0.77"), Just("fd00::77")], 0..2);
    let parent = (prop::option::of(own()), any::<bool>(), prop::option::of(any::<bool>()), any::<bool>());
    let parents = prop::collection::btree_map(0usize..4, parent, 0..3);
    let range = || select(vec!["10.0.0.0/24", "192.0.2.0/24", "10.0.0.2/32", "fd01::/64", "10.0.0.254/32"]);
    let probe = || prop_oneof![4 => Just(Probe::Optimistic), 2 => Just(Probe::Strict), 1 => Just(Probe::Off)];
    let prefixes = || prop::collection::vec(range(), 0..2);
    (
        own(),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.2),
        parents,
        prefixes(),
        prefixes(),
        (1usize..4, probe()),
    )
        .prop_map(|(own, ipv6, keep, parents, allow, deny, (max_addresses, probe))| {
            let parse = |texts: Vec<&str>| {
                texts.into_iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>()
            };
            let mut ranges = vec!["10.9.0.0/24", "10.0.0.4/32", "fd09::/64"];
            let parents = parents.into_iter().map(|(which, (own, routes, keep, _))| {
                let routes = if routes { ranges.pop().map(|range| range.parse().unwrap()) } else { None };
                let name = ["eth0", "eth1", "eth0.5", "eth9"][which].to_owned();
                let (addresses, routes) = (own.map(parse), routes.into_iter().collect());
                (name.clone(), Parent { name, addresses, routes, keep })
            });
            let nets =
                |texts: Vec<&str>| texts.into_iter().map(|text| text.parse::<IpNet>().unwrap()).collect();
            Config {
                servers: Vec::new(),
                select: Select::default(),
                parents: parents.collect(),
                shim: Shim { addresses: parse(own), ipv6, keep },
                policy: Policy {
                    allow: nets(allow),
                    deny: if max_addresses == 1 { nets(deny) } else { Vec::new() },
                    max_addresses,
                    probe,
                },
                metrics: Metrics::default(),
            }
        })
}

/// Something that happens to the host, a guest or a server, or that an older process of ours did.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Address {
        link: LinkIndex,
        address: IpNet,
        usable: bool,
    },
    NoAddress {
        link: LinkIndex,
        address: IpNet,
    },
    Route {
        link: LinkIndex,
        destination: IpNet,
        table: u32,
        ours: bool,
        source: Option<IpAddr>,
        metric: Option<u32>,
        kind: RouteKind,
    },
    Neighbour {
        link: LinkIndex,
        address: IpAddr,
        mac: Mac,
        state: NeighbourState,
        ours: bool,
    },
    Proxy {
        link: LinkIndex,
        address: IpAddr,
        ours: bool,
    },
    /// A rule of ours, or one of the host's that does the same every time.
    Rule {
        rule: Rule,
        there: bool,
    },
    /// One of the host's own routes comes or goes.
    Way {
        key: RouteKey,
        way: Way,
        there: bool,
    },
    Shim {
        parent: LinkIndex,
        name: &'static str,
        mode: Mode,
        marked: bool,
        complete: bool,
    },
    Up {
        link: LinkIndex,
        up: bool,
    },
    Gone {
        link: LinkIndex,
    },
    Orphan {
        link: LinkIndex,
    },
    Mtu {
        link: LinkIndex,
        mtu: u32,
    },
    Wifi {
        link: LinkIndex,
    },
    Drift {
        link: LinkIndex,
        setting: usize,
    },
    ArpIgnore(i64),
    /// Two links swap their names.
    SwapNames {
        link: LinkIndex,
        other: LinkIndex,
    },
    /// Somebody changes the flags of a link.
    Flags {
        link: LinkIndex,
        multicast: bool,
        arp: bool,
        protodown: bool,
    },
    /// Somebody takes a mark from a link, and changes its MAC.
    Disguise {
        link: LinkIndex,
        mac: Mac,
    },
    Child {
        key: ChildKey,
        parent: LinkIndex,
        mac: Mac,
        mode: Mode,
        tap: bool,
        addresses: BTreeMap<IpNet, GuestAddress>,
    },
    NoChild {
        key: ChildKey,
    },
    Filter {
        link: LinkIndex,
        mac: Option<Mac>,
        whole: bool,
    },
    Gets {
        key: ChildKey,
        address: IpNet,
    },
    Loses {
        key: ChildKey,
        address: IpNet,
    },
    /// A guest makes it a port of a bridge with that MAC or with its own, or no port any more.
    Port {
        key: ChildKey,
        bridge: bool,
        mac: Option<Mac>,
    },
    /// The address moves from its owner to this child.
    Moves {
        key: ChildKey,
        address: IpNet,
    },
    OtherMac {
        key: ChildKey,
        mac: Mac,
    },
    /// A link that a guest makes beside its NIC. It is up only if nobody else has its MAC.
    Nested {
        key: ChildKey,
        mac: Mac,
        up: bool,
    },
    /// A NIC that the server leaves with the host, with the marks of a shim, which a guest's root gave it.
    ComesHome {
        mac: Mac,
    },
    Guest {
        server: &'static str,
        guest: Guest,
    },
    NoGuest {
        server: &'static str,
        name: &'static str,
    },
    Server {
        server: &'static str,
        state: ServerState,
        read: bool,
    },
}

const NEIGHBOUR_STATES: [NeighbourState; 6] = [
    NeighbourState::Permanent,
    NeighbourState::Reachable,
    NeighbourState::Stale,
    NeighbourState::Asking,
    NeighbourState::Unresolved,
    NeighbourState::Failed,
];

/// The things that a guest can do to its addresses, and that the LAN may say about them.
pub(crate) fn address_event() -> impl Strategy<Value = Event> {
    let state = || select(NEIGHBOUR_STATES[1..].to_vec());
    prop_oneof![
        8 => (key(), good_net()).prop_map(|(key, address)| Event::Gets { key, address }),
        3 => (key(), good_net()).prop_map(|(key, address)| Event::Loses { key, address }),
        2 => (key(), good_net()).prop_map(|(key, address)| Event::Moves { key, address }),
        1 => key().prop_map(|key| Event::NoChild { key }),
        3 => way_event(),
        2 => (links(2..4), good_net(), state()).prop_map(|(link, address, state)| {
            let mac = LAN_MACHINE;
            Event::Neighbour { link, address: address.addr(), mac, state, ours: false }
        }),
    ]
}

/// A link with one of these ifindexes.
fn links(indexes: std::ops::Range<u32>) -> impl Strategy<Value = LinkIndex> + Clone {
    indexes.prop_map(LinkIndex)
}

/// A rule: ours, or one that a host may have.
fn rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        4 => select(vec![100u32, 254, 255]).prop_map(Action::LookUp),
        1 => select(vec![99u32, 100, 101, 32766]).prop_map(Action::Goto),
        1 => Just(Action::Nop),
        1 => Just(Action::End),
    ];
    let to = prop::option::weighted(0.4, net());
    let selectors = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), to);
    let suppressed = (prop::option::weighted(0.2, 0u8..30), prop::option::weighted(0.1, 0u32..2));
    (
        select(&Family::ALL[..]),
        select(vec![0u32, 1, 99, 100, 101, 40000]),
        any::<bool>(),
        action,
        selectors,
        suppressed,
    )
        .prop_map(
            |(
                family,
                priority,
                ours,
                action,
                (narrow, inverted, to),
                (suppressed_length, suppressed_group),
            )| {
                if ours {
                    return Rule { ours, ..Rule::look_up(family, priority, 77) };
                }
                let to = to.filter(|to: &IpNet| Family::of(*to) == family).map(|to| to.trunc());
                let rest = Rule::default();
                Rule {
                    family,
                    priority,
                    action,
                    narrow,
                    inverted,
                    to,
                    suppressed_length,
                    suppressed_group,
                    ..rest
                }
            },
        )
}

/// A route of the host's own, long or short, through links and gateways or to nowhere.
pub(crate) fn way_event() -> impl Strategy<Value = Event> {
    let length = |family| match family {
        Family::V4 => vec![0u8, 8, 16, 24, 30, 31, 32],
        Family::V6 => vec![0, 8, 64, 127, 128],
    };
    let destination = ip().prop_flat_map(move |ip| {
        select(length(Family::of(ip))).prop_map(move |length| IpNet::new(ip, length).unwrap().trunc())
    });
    let hop =
        (links(2..9), prop::option::weighted(0.5, ip())).prop_map(|(link, gateway)| Hop { link, gateway });
    let kind = prop_oneof![
        8 => Just(RouteKind::Unicast),
        1 => select(vec![RouteKind::Throw, RouteKind::Unreachable, RouteKind::Local]),
    ];
    let table = prop_oneof![3 => Just(254u32), 1 => Just(100)];
    let hops = prop_oneof![4 => prop::collection::vec(hop.clone(), 1), 1 => prop::collection::vec(hop, 2)];
    (destination, kind, hops, table, 1u32..3, prop::bool::weighted(0.8)).prop_map(
        |(destination, kind, mut hops, table, metric, there)| {
            if kind != RouteKind::Unicast {
                hops.clear();
            }
            let link = if let [only] = hops.as_slice() { only.link } else { LinkIndex::NONE };
            let key = RouteKey { table, destination, metric, link };
            Event::Way { key, way: Way { kind, hops }, there }
        },
    )
}

fn ip() -> impl Strategy<Value = IpAddr> + Clone {
    select(ADDRESSES.to_vec()).prop_map(|text| text.parse::<IpAddr>().unwrap())
}

fn net() -> impl Strategy<Value = IpNet> {
    (ip(), any::<bool>()).prop_map(|(ip, wide)| wide_or_host(ip, wide))
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let parent = || select(PARENTS.to_vec());
    // Parents, and the links that may stand on them.
    let any_link = || prop_oneof![2 => parent(), 3 => links(5..9)];
    let mac = || (1u8..6).prop_map(|last| Mac([0, 0x16, 0x3e, 0, 0, last]));
    let lan_mac = || prop_oneof![4 => mac(), 1 => Just(LAN_MACHINE)];
    let state = || select(NEIGHBOUR_STATES.to_vec());
    let mode = || prop_oneof![8 => Just(Mode::Bridge), 1 => Just(Mode::Private), 1 => Just(Mode::Source), 1 => Just(Mode::Passthru)];
    let route_kind = || prop_oneof![4 => Just(RouteKind::Unicast), 1 => Just(RouteKind::Blackhole)];
    let server = || select(vec!["incus", "lxd"]);
    let name = || select(vec!["a", "b", "c"]);
    let rarely = |often: f64| prop::bool::weighted(often);
    prop_oneof![
        3 => (any_link(), net(), rarely(0.8)).prop_map(|(link, address, usable)| {
            Event::Address { link, address, usable }
        }),
        2 => (any_link(), net()).prop_map(|(link, address)| Event::NoAddress { link, address }),
        4 => (any_link(), net(), select(vec![254, 77]), rarely(0.7), prop::option::of(ip()),
              prop::option::weighted(0.1, 1u32..3), route_kind()).prop_map(|(link, destination, table, ours, source, metric, kind)| {
            Event::Route { link, destination: destination.trunc(), table, ours, source, metric, kind }
        }),
        4 => (any_link(), ip(), lan_mac(), state(), rarely(0.5)).prop_map(|(link, address, mac, state, ours)| {
            Event::Neighbour { link, address, mac, state, ours }
        }),
        1 => (any_link(), ip(), any::<bool>()).prop_map(|(link, address, ours)| Event::Proxy { link, address, ours }),
        2 => (rule(), rarely(0.7)).prop_map(|(rule, there)| Event::Rule { rule, there }),
        3 => way_event(),
        3 => (parent(), select(vec!["mvs-eth0", "mvs-eth1", "mvs-eth0.5", "mvs-old"]), mode(), rarely(0.85),
              any::<bool>()).prop_map(|(parent, name, mode, marked, complete)| {
            Event::Shim { parent, name, mode, marked, complete }
        }),
        1 => (any_link(), any::<bool>()).prop_map(|(link, up)| Event::Up { link, up }),
        1 => (prop_oneof![1 => parent(), 9 => links(5..9)], rarely(0.4)).prop_map(|(link, gone)| {
            if gone { Event::Gone { link } } else { Event::Orphan { link } }
        }),
        1 => (any_link(), select(vec![1400u32, 1500, 9000])).prop_map(|(link, mtu)| Event::Mtu { link, mtu }),
        1 => (0i64..4).prop_map(Event::ArpIgnore),
        1 => (links(5..9), 0usize..Setting::ALL.len()).prop_map(|(link, setting)| Event::Drift { link, setting }),
        1 => prop_oneof![(parent(), parent()), (links(5..9), links(5..9))]
            .prop_map(|(link, other)| Event::SwapNames { link, other }),
        1 => (links(5..9), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(link, multicast, arp, protodown)| Event::Flags { link, multicast, arp, protodown }),
        1 => (links(5..9), mac()).prop_map(|(link, mac)| Event::Disguise { link, mac }),
        1 => parent().prop_map(|link| Event::Wifi { link }),
        2 => (links(5..10), prop::option::weighted(0.8, mac()), any::<bool>())
            .prop_map(|(link, mac, whole)| Event::Filter { link, mac, whole }),
        8 => child(mode()),
        1 => key().prop_map(|key| Event::NoChild { key }),
        4 => (key(), good_net()).prop_map(|(key, address)| Event::Gets { key, address }),
        4 => (key(), good_net()).prop_map(|(key, address)| Event::Loses { key, address }),
        3 => (key(), good_net()).prop_map(|(key, address)| Event::Moves { key, address }),
        1 => (key(), rarely(0.7), prop::option::of(mac())).prop_map(|(key, bridge, mac)| {
            Event::Port { key, bridge, mac }
        }),
        1 => (key(), mac()).prop_map(|(key, mac)| Event::OtherMac { key, mac }),
        2 => (links(2..4), good_net(), state()).prop_map(|(link, address, state)| {
            let mac = LAN_MACHINE;
            Event::Neighbour { link, address: address.addr(), mac, state, ours: false }
        }),
        8 => (server(), guest(name())).prop_map(|(server, guest)| Event::Guest { server, guest }),
        1 => (server(), name()).prop_map(|(server, name)| Event::NoGuest { server, name }),
        1 => (server(), select(vec![ServerState::Connected, ServerState::Absent, ServerState::Failed]), rarely(0.8))
            .prop_map(|(server, state, read)| Event::Server { server, state, read }),
    ]
}

fn child(mode: impl Strategy<Value = Mode>) -> impl Strategy<Value = Event> {
    let mac = (1u8..6).prop_map(|last| Mac([0, 0x16, 0x3e, 0, 0, last]));
    let state = prop_oneof![
        9 => Just(GuestAddress::Settled), 1 => Just(GuestAddress::Tentative), 1 => Just(GuestAddress::Duplicate)
    ];
    let ip = select(ADDRESSES.to_vec()).prop_map(|text| wide_or_host(text.parse().unwrap(), true));
    let addresses = prop::collection::btree_map(prop_oneof![3 => good_net(), 1 => ip], state, 0..4);
    (key(), select(PARENTS.to_vec()), mac, mode, prop::bool::weighted(0.05), addresses).prop_map(
        |(key, parent, mac, mode, tap, addresses)| Event::Child { key, parent, mac, mode, tap, addresses },
    )
}

/// A guest's NIC, or a child that it made beside it.
fn key() -> impl Strategy<Value = ChildKey> {
    let index = prop_oneof![3 => Just(LinkIndex(10)), 1 => Just(LinkIndex(11))];
    (0i32..4, index).prop_map(|(id, index)| ChildKey { netns: Netns::Id(NetnsId(id)), index })
}

/// Addresses that have a good chance of being admitted.
pub(crate) fn good_net() -> impl Strategy<Value = IpNet> {
    let good = vec!["10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::2", "fd00::3"];
    select(good).prop_map(|text| wide_or_host(text.parse().unwrap(), true))
}

pub(crate) fn wide_or_host(ip: IpAddr, wide: bool) -> IpNet {
    let length = match (wide, ip.is_ipv4()) {
        (true, true) => 24,
        (true, false) => 64,
        (false, true) => 32,
        (false, false) => 128,
    };
    IpNet::new(ip, length).unwrap()
}

fn guest(name: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Guest> {
    let parent = prop_oneof![
        9 => select(vec![("eth0", None), ("eth0", None), ("eth1", None), ("eth1", None), ("eth0", Some(5)), ("eth9", None)]).prop_map(|(name, vlan)| {
            NicParent::Link { name: name.into(), vlan }
        }),
        1 => Just(NicParent::Unknown("unknown".to_owned())),
    ];
    let mac = prop::option::weighted(0.9, (1u8..6).prop_map(|last| Mac([0, 0x16, 0x3e, 0, 0, last])));
    let nic = (select(vec!["eth0", "eth1"]), mac, parent)
        .prop_map(|(name, mac, parent)| (name, Nic { mac, parent, ..listed::nic(name, Mac([0; 6])) }));
    let often = |yes: f64| prop::bool::weighted(yes);
    let init = prop::option::weighted(0.2, 1000u32..1004);
    (name, often(0.1), often(0.9), often(0.1), init, prop::collection::vec(nic, 1..3)).prop_map(
        |(name, vm, runs, out, init, nics)| {
            let nics = nics.into_iter().collect::<BTreeMap<_, _>>().into_values().collect();
            Guest {
                kind: if vm { GuestKind::VirtualMachine } else { GuestKind::Container },
                home: init.map_or(Home::Unknown, Home::Pid),
                power: if runs { Power::Running } else { Power::Stopped },
                opt: if out { OptOut::Out } else { OptOut::In },
                ..listed::container(name, nics)
            }
        },
    )
}

impl Event {
    fn stands_beside(&mut self, nic: &Event) {
        if let (Event::Child { key, parent, .. }, Event::Child { key: its, parent: on, .. }) = (self, nic) {
            *key = ChildKey { netns: its.netns, index: LinkIndex(11) };
            *parent = *on;
        }
    }

    /// Events that the kernel would refuse do not happen.
    pub(crate) fn happen(&self, kernel: &mut InMemoryKernel, inventory: &mut Inventory) {
        let there = |link: &LinkIndex, kernel: &InMemoryKernel| kernel.snapshot.links.contains_key(link);
        match self {
            Event::Address { link, address, usable } if there(link, kernel) => {
                // Nobody else gives addresses to our shims, and ours are nowhere else.
                let ours = &is_marked(kernel, *link);
                let (usable, deprecated) = (*usable, !usable);
                let new = HostAddress { usable, deprecated, secondary: *ours, ours: *ours, peer: None };
                let possible = address.addr().is_ipv4() || kernel.snapshot.host.ipv6;
                let twice = kernel
                    .snapshot
                    .addresses
                    .keys()
                    .any(|key| key.link == *link && key.address.addr() == address.addr());
                if possible && !twice && (!ours || address.prefix_len() == address.max_prefix_len()) {
                    kernel.add_address(AddressKey { link: *link, address: *address }, new);
                }
            }
            Event::NoAddress { link, address } => {
                kernel.remove_address(AddressKey { link: *link, address: *address });
            }
            Event::Route { link, destination, table, ours, source, metric: other, kind } => {
                // Nobody else routes through our shims, or from an address that may go.
                let ours = &(*ours || is_marked(kernel, *link));
                let source = source.filter(|_| *ours);
                let metric = other.unwrap_or(metric(Family::of(*destination)));
                // Routes that lead nowhere have no link, and the snapshot has them for hosts.
                let kind = if *ours || !is_host(destination) { RouteKind::Unicast } else { *kind };
                let link = if kind == RouteKind::Unicast { *link } else { LinkIndex::NONE };
                let key = RouteKey { table: *table, destination: *destination, metric, link };
                let source = source.filter(|source| source.is_ipv4() == destination.addr().is_ipv4());
                let _ = kernel.set_route(key, Route { source, ours: *ours, gateway: false, kind }, false);
            }
            Event::Neighbour { link, address, mac, state, ours }
                if there(link, kernel) && (address.is_ipv4() || kernel.snapshot.host.ipv6) =>
            {
                let unknown = matches!(state, NeighbourState::Unresolved | NeighbourState::Failed);
                let mac = Some(*mac).filter(|_| !unknown);
                let entry = Neighbour { mac, state: *state, ours: *ours };
                kernel.snapshot.neighbours.insert((*address, *link), entry);
            }
            Event::Proxy { link, address: IpAddr::V6(address), ours }
                if there(link, kernel) && kernel.snapshot.host.ipv6 =>
            {
                kernel.snapshot.proxies.insert((*link, *address), *ours);
            }
            Event::Rule { rule, there } => {
                let rules = &mut kernel.snapshot.rules;
                let place = |rule: &Rule| (rule.family, rule.priority, rule.ours);
                let local = Action::LookUp(255);
                rules.retain(|other| {
                    place(other) != place(rule) || (other.action == local && rule.priority == 0)
                });
                let last =
                    rules.iter().filter(|other| place(other) == place(rule)).map(|other| other.order).max();
                if *there {
                    rules.insert(Rule { order: last.map_or(0, |last| last + 1), ..*rule });
                }
            }
            Event::Way { key, way, there } => {
                // Nobody else routes through our shims.
                let ours = way.hops.iter().any(|hop| is_marked(kernel, hop.link) && hop.gateway.is_none());
                if *there && !ours {
                    let _ = kernel.add_way(*key, way.clone());
                } else {
                    kernel.snapshot.routing.take(key);
                }
            }
            Event::Shim { parent, name, mode, marked, complete }
                if there(parent, kernel) && kernel.snapshot.link_named(name).is_none() =>
            {
                make_shim(kernel, *parent, name, *mode, *marked, *complete);
            }
            Event::Up { link, up: false } => kernel.set_down(*link),
            Event::Up { link, up: true } => {
                if let Some(link) = kernel.snapshot.links.get(link) {
                    let shim = LinkRef { name: link.name.clone(), index: Some(link.index) };
                    let _ = kernel.apply(&Op::SetUp { shim });
                }
            }
            Event::Gone { link } => kernel.remove_link(*link),
            Event::Orphan { link } => {
                if let Some(link) =
                    kernel.snapshot.links.get_mut(link).filter(|link| link.index > LinkIndex(4))
                {
                    link.lower = None;
                }
            }
            Event::Mtu { link, mtu } => {
                if let Some(link) =
                    kernel.snapshot.links.get_mut(link).filter(|link| link.index < LinkIndex(5))
                {
                    link.mtu = *mtu;
                }
                let upon = kernel.snapshot.links.values_mut().filter(|upon| upon.lower == Some(*link));
                upon.for_each(|upon| upon.mtu = upon.mtu.min(*mtu));
            }
            Event::Wifi { link } => {
                if let Some(link) = kernel.snapshot.links.get_mut(link) {
                    link.wireless = true;
                }
            }
            Event::Drift { link, setting } => {
                let settings = kernel.snapshot.settings.get_mut(link);
                if let Some(value) = settings.and_then(|settings| settings.get_mut(&Setting::ALL[*setting])) {
                    *value = i64::from(Setting::ALL[*setting] != Setting::Ipv6Disable) * 7;
                }
            }
            Event::ArpIgnore(value) => kernel.snapshot.host.arp_ignore = *value,
            // No ifindex is given twice.
            Event::Filter { link, mac, whole } if *link < kernel.clone().next_index() => {
                let device = kernel.snapshot.links.get(link).map_or("mvs-gone", |link| link.name.as_str());
                let macs = mac.map(|mac| BTreeSet::from([mac]));
                let answers = mac.iter().map(|_| "10.0.0.99/32".parse().unwrap()).collect();
                let filter = ShimFilter { device: device.into(), macs, answers, whole: *whole };
                kernel.snapshot.filter.shims.insert(*link, filter);
            }
            Event::SwapNames { link, other } if there(link, kernel) && there(other, kernel) => {
                let links = &mut kernel.snapshot.links;
                let (name, other_name) = (links[link].name.clone(), links[other].name.clone());
                for (link, name) in [(link, other_name), (other, name)] {
                    if let Some(link) = links.get_mut(link) {
                        link.name = name;
                    }
                }
            }
            Event::Flags { link, multicast, arp, protodown } => {
                kernel.set_flags(*link, *multicast, *arp);
                if let Some(link) = kernel.snapshot.links.get_mut(link) {
                    link.protodown = *protodown;
                }
            }
            Event::Disguise { link, mac } => {
                if let Some(link) =
                    kernel.snapshot.links.get_mut(link).filter(|link| link.index > LinkIndex(4))
                {
                    (link.group, link.mac) = (0, Some(*mac));
                    let index = link.index;
                    kernel.snapshot.neighbours.retain(|(_, at), _| *at != index);
                }
            }
            Event::Child { key, parent, mac, mode, tap, addresses } if there(parent, kernel) => {
                let children = &kernel.snapshot.children;
                let twin = children
                    .iter()
                    .any(|(other, child)| other != key && (child.parent, child.mac) == (*parent, *mac));
                let alone = children.iter().any(|(other, child)| {
                    other != key
                        && child.parent == *parent
                        && (child.mode == Mode::Passthru || *mode == Mode::Passthru)
                });
                if twin || alone {
                    return;
                }
                let child = Child {
                    parent: *parent,
                    mac: *mac,
                    mode: *mode,
                    name: "eth0".into(),
                    tap: *tap,
                    up: true,
                    master: None,
                    sources: Sources::default(),
                    addresses: addresses.clone(),
                };
                kernel.snapshot.children.insert(*key, child);
            }
            Event::Gets { key, address } => {
                if let Some(child) = kernel.snapshot.children.get_mut(key) {
                    child.addresses.insert(*address, GuestAddress::Settled);
                }
            }
            Event::Loses { key, address } => {
                if let Some(child) = kernel.snapshot.children.get_mut(key) {
                    child.addresses.remove(address);
                }
            }
            Event::Port { key, bridge, mac } => {
                if let Some(child) = kernel.snapshot.children.get_mut(key) {
                    let mac = mac.or(Some(child.mac));
                    child.master = bridge.then(|| Master { index: LinkIndex(90), name: "br0".into(), mac });
                }
            }
            Event::Moves { key, address } if kernel.snapshot.children.contains_key(key) => {
                for (other, child) in &mut kernel.snapshot.children {
                    child.addresses.retain(|its, _| its != address);
                    if other == key {
                        child.addresses.insert(*address, GuestAddress::Settled);
                    }
                }
            }
            Event::OtherMac { key, mac } => {
                let Some(child) = kernel.snapshot.children.get(key).cloned() else { return };
                let twin = |other: &Child| (other.parent, other.mac) == (child.parent, *mac);
                if !kernel.snapshot.children.values().any(twin) {
                    kernel.snapshot.children.insert(*key, Child { mac: *mac, ..child });
                }
            }
            Event::Nested { key, mac, up } => {
                let children = &kernel.snapshot.children;
                let nic = ChildKey { index: LinkIndex(10), ..*key };
                let Some(child) = children.get(&nic).filter(|child| child.mode != Mode::Passthru).cloned()
                else {
                    return;
                };
                let twin = |other: &Child| (other.parent, other.mac, other.up) == (child.parent, *mac, true);
                if !(*up && children.iter().any(|(other, its)| other != key && twin(its))) {
                    let nested =
                        Child { mac: *mac, up: *up, tap: false, addresses: BTreeMap::new(), ..child };
                    kernel.snapshot.children.insert(*key, nested);
                }
            }
            Event::ComesHome { mac } => {
                let name = format!("mac0000000{}", mac.0[5]);
                let index = LinkIndex(50 + u32::from(mac.0[5]));
                let mut nic = link(index, &name, LinkKind::Macvlan(Mode::Bridge));
                (nic.lower, nic.up, nic.mac) = (Some(LinkIndex(2)), false, Some(*mac));
                (nic.group, nic.made_with) = (LINK_GROUP, Some(*mac));
                kernel.snapshot.links.insert(index, nic);
            }
            Event::NoChild { key } => {
                kernel.snapshot.children.remove(key);
            }
            Event::Guest { server, guest } => {
                let guests = server_mut(inventory, server).guests.get_or_insert_default();
                guests.retain(|other| other.name != guest.name);
                guests.push(guest.clone());
                guests.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Event::NoGuest { server, name } => {
                let guests = server_mut(inventory, server).guests.get_or_insert_default();
                guests.retain(|guest| guest.name != *name);
            }
            Event::Server { server, state, read } => {
                let server = server_mut(inventory, server);
                server.state = *state;
                if !read {
                    server.guests = None;
                }
            }
            _ => {}
        }
    }
}

fn is_marked(kernel: &InMemoryKernel, link: LinkIndex) -> bool {
    kernel.snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some())
}

fn make_shim(
    kernel: &mut InMemoryKernel,
    parent: LinkIndex,
    name: &str,
    mode: Mode,
    marked: bool,
    complete: bool,
) {
    let index = kernel.next_index();
    let mac = Mac([2, 0x77, 0, 0, 0, u8::try_from(index.0 % 251).unwrap()]);
    // A new shim has no second mark yet, and an old one may have lost the first.
    let grouped = marked && !(complete && index.0.is_multiple_of(2));
    let new = Link {
        mac: Some(mac),
        mtu: kernel.snapshot.links[&parent].mtu,
        up: complete,
        multicast: !complete,
        group: if grouped { LINK_GROUP } else { 0 },
        made_with: Some(mac).filter(|_| marked && complete),
        lower: Some(parent),
        ..link(LinkIndex::NONE, name, LinkKind::Macvlan(mode))
    };
    kernel.snapshot.links.insert(index, Link { index, ..new });
    if marked {
        kernel.snapshot.settings.insert(index, default_settings(kernel.snapshot.host.ipv6));
    }
}

fn server_mut<'a>(inventory: &'a mut Inventory, name: &str) -> &'a mut Server {
    let unread = || {
        Arc::new(Server {
            place: format!("/run/{name}"),
            state: ServerState::Connected,
            guests: Some(Vec::new()),
            ..Server::default()
        })
    };
    Arc::make_mut(inventory.servers.entry(ServerId(name.into())).or_insert_with(unread))
}
