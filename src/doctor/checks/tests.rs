//! Each fault is made on a host that is otherwise clean, and exactly its check finds it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::others;
use crate::config::Config;
use crate::doctor::examine;
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::firewall::Firewall;
use crate::doctor::survey::{
    ConfigLine, DaemonState, KernelView, Machine, Networkd, SocketRights, Survey, UnitState,
};
use crate::model::code::Topic;
use crate::model::inventory::{
    Guest, GuestKind, Home, Mode, Nic, NicParent, Nics, OptOut, Power, Server, ServerKind, ServerState,
};
use crate::model::neighbours::NeighbourTable;
use crate::model::routing::{Action, Way};
use crate::model::snapshot::{
    AddressKey, Child, ChildKey, Filter, ForeignChain, GuestAddress, HostAddress, Link, LinkKind, Neighbour,
    NeighbourState, Netns, RouteKey, Rule, Sources, Sysctls,
};
use crate::model::{
    Code, Family, Inventory, LinkIndex, Mac, NetnsId, ServerId, Severity, Snapshot, Timestamp, names,
};
use crate::reconcile::Inputs;

const ETH0: LinkIndex = LinkIndex(2);
const SHIM: LinkIndex = LinkIndex(3);

/// A host with one guest, from which a test makes a survey.
struct World {
    config: Config,
    snapshot: Snapshot,
    guests: Vec<Guest>,
    server: Server,
    tables: Vec<NeighbourTable>,
    /// The daemon runs, and says what a decision from scratch says.
    runs: bool,
    change: Box<dyn FnOnce(&mut Survey)>,
}

fn mac(last: u8) -> Mac {
    Mac([0, 0x16, 0x3e, 0, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn link(index: LinkIndex, name: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name.into(),
        kind,
        mac: Some(Mac([2, 0, 0, 0, 1, index.0 as u8])),
        mtu: 1500,
        up: true,
        multicast: true,
        arp: true,
        ..Link::default()
    }
}

fn child(last: u8, addresses: &[&str]) -> Child {
    Child {
        parent: ETH0,
        mac: mac(last),
        mode: Mode::Bridge,
        name: "eth0".into(),
        tap: false,
        up: true,
        master: None,
        sources: Sources::default(),
        addresses: addresses.iter().map(|text| (net(text), GuestAddress::Settled)).collect(),
    }
}

fn in_netns(id: i32) -> ChildKey {
    ChildKey { netns: Netns::Id(NetnsId(id)), index: LinkIndex(5) }
}

fn container(name: &str, last: u8) -> Guest {
    Guest {
        project: "default".into(),
        name: name.into(),
        kind: GuestKind::Container,
        power: Power::Running,
        home: Home::Pid(1000 + u32::from(last)),
        profiles: vec!["mv".into()],
        opt: OptOut::In,
        nics: Nics::Told(vec![Nic {
            name: "eth0".into(),
            link: "eth0".into(),
            mac: Some(mac(last)),
            parent: NicParent::Link { name: "eth0".into(), vlan: None },
            mode: Mode::Bridge,
        }]),
    }
}

fn network(snapshot: &mut Snapshot, link: LinkIndex, address: &str) {
    let address = net(address);
    snapshot
        .addresses
        .insert(AddressKey { link, address }, HostAddress { usable: true, ..HostAddress::default() });
    route(snapshot, link, &address.trunc().to_string());
}

fn route(snapshot: &mut Snapshot, link: LinkIndex, destination: &str) {
    let key = RouteKey { table: names::TABLE_MAIN, destination: net(destination), metric: 0, link };
    snapshot.routing.put(key, Way::through(link, None));
}

impl World {
    fn clean() -> World {
        let mut snapshot = Snapshot::default();
        snapshot.host.ipv6 = true;
        snapshot.filter.usable = true;
        for family in Family::ALL {
            let main = Rule::look_up(family, names::MAIN_RULE_PRIORITY, names::TABLE_MAIN);
            snapshot.rules.extend([Rule::look_up(family, 0, names::TABLE_LOCAL), main]);
        }
        snapshot.links.insert(ETH0, link(ETH0, "eth0", LinkKind::default()));
        let shim = Link {
            group: names::LINK_GROUP,
            lower: Some(ETH0),
            ..link(SHIM, "mvs-eth0", LinkKind::Macvlan(Mode::Bridge))
        };
        snapshot.links.insert(SHIM, shim);
        network(&mut snapshot, ETH0, "192.168.77.12/24");
        network(&mut snapshot, ETH0, "fd77::12/64");
        snapshot.children.insert(in_netns(1), child(1, &["192.168.77.101/24", "fd77::101/64"]));
        World {
            config: Config::default(),
            snapshot,
            guests: vec![container("web", 1)],
            server: Server {
                place: "/var/lib/lxd/unix.socket".to_owned(),
                kind: Some(ServerKind::Lxd),
                version: Some("5.0.2".to_owned()),
                state: ServerState::Connected,
                ..Server::default()
            },
            tables: Vec::new(),
            runs: true,
            change: Box::new(|_| {}),
        }
    }

    /// The clean host with a fault.
    fn with(fault: impl FnOnce(&mut World)) -> World {
        let mut world = World::clean();
        fault(&mut world);
        world
    }

    /// The clean host, of which something else was read.
    fn surveyed(change: impl FnOnce(&mut Survey) + 'static) -> World {
        World { change: Box::new(change), ..World::clean() }
    }

    fn survey(self) -> Survey {
        let World { config, snapshot, guests, server, tables, runs, change } = self;
        let guests =
            server.guests.clone().or(Some(guests)).filter(|_| server.state == ServerState::Connected);
        let server = Server { guests, ..server };
        let inventory = Inventory { servers: [(ServerId("lxd".into()), Arc::new(server))].into() };
        let inputs =
            Inputs { config: &config, inventory: &inventory, snapshot: &snapshot, now: Instant::now() };
        let view = KernelView::decide(&inputs, "node", Timestamp::default(), &tables, |_| Vec::new());
        let daemon = match runs {
            true => DaemonState::Answers(Box::new(view.status.clone())),
            false => DaemonState::Absent("no daemon answers at /run/x".to_owned()),
        };
        let mut survey = Survey {
            time: Timestamp::default(),
            name: "node".to_owned(),
            system: "Debian GNU/Linux 12".to_owned(),
            release: "6.1.0".to_owned(),
            config,
            config_fault: None,
            daemon,
            kernel: Ok(view),
            inventory,
            firewall: Ok(Firewall::default()),
            machine: Machine::default(),
            unit: Ok(UnitState::default()),
            networkd: Networkd { runs: Some(false), ..Networkd::default() },
            network_manager: Ok(None),
            programs: Default::default(),
            boot_files: Vec::new(),
            sysctls: Default::default(),
            sockets: Vec::new(),
            ages: Default::default(),
        };
        change(&mut survey);
        survey
    }

    /// Everything that is found, by the checks that are made.
    fn found(self) -> Vec<Finding> {
        let outcomes = examine(&self.survey());
        outcomes.into_iter().filter_map(|outcome| outcome.found.ok()).flatten().collect()
    }

    /// The only finding, which has this code.
    fn finds(self, code: Code) -> Finding {
        let found = self.found();
        let codes: Vec<Code> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [code], "{found:#?}");
        let finding = found.into_iter().next().unwrap();
        assert!(!finding.sentence.is_empty() && !finding.cure.is_empty(), "{finding:#?}");
        finding
    }

    /// Every check is made, and none finds anything.
    fn shows_nothing(self) {
        for outcome in examine(&self.survey()) {
            assert_eq!(outcome.found, Ok(vec![]), "{}", outcome.code);
        }
    }
}

fn config(text: &str) -> Config {
    Config::parse(text, std::path::Path::new("c.toml")).unwrap()
}

fn config_lines(lines: &[&str]) -> Vec<ConfigLine> {
    let line = |(at, text): (usize, &&str)| ConfigLine {
        file: "/etc/x".to_owned(),
        number: at + 1,
        text: (*text).to_owned(),
    };
    lines.iter().enumerate().map(line).collect()
}

fn nft(rules: &str) -> Firewall {
    let json = format!(
        r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}}},
           {{"rule": {{"family": "inet", "table": "t", "chain": "in", "handle": 2, "expr": [{rules}]}}}}]}}"#
    );
    Firewall::read(&json, "", Vec::new()).unwrap()
}

#[test]
fn a_clean_host_has_no_finding_with_a_daemon_and_nothing_but_its_absence_without() {
    World::clean().shows_nothing();
    let finding = World::with(|world| world.runs = false).finds(Code::NotRunning);
    assert!(finding.evidence[1].starts_with("mvs-eth0 and 0 routes still stand"), "{finding:#?}");
}

#[test]
fn every_code_of_a_problem_belongs_to_one_check() {
    let all: Vec<Code> = super::ALL.iter().flat_map(|check| check.codes.iter().copied()).collect();
    for code in Code::ALL {
        let checks = all.iter().filter(|its| *its == code).count();
        // A note is no problem, and `vm` is told by its own check.
        let may_be_problem = code.severity() > Severity::Note && code.topic() != Topic::Unselected;
        let expected = usize::from(may_be_problem || code.topic() == Topic::Doctor || *code == Code::Vm);
        assert_eq!(checks, expected, "{code}");
    }
    assert!(super::ALL.last().is_some_and(|check| check.codes == others::CODES));
}

#[test]
fn what_was_not_read_is_not_good() {
    let gap = || Gap::for_root("the kernel cannot be read");
    let survey = World::surveyed(move |survey| {
        survey.kernel = Err(gap());
        survey.daemon = DaemonState::Silent(gap());
    })
    .survey();
    for outcome in examine(&survey) {
        let is_independent = [Code::ConfigRejected, Code::NetworkmanagerManages, Code::NetworkdForeignRoutes]
            .contains(&outcome.code)
            || [Code::CloudMac, Code::HypervisorMac, Code::BridgeNf, Code::NatNamesUplink]
                .contains(&outcome.code)
            || [Code::DnsmasqNamesUplink, Code::KeepalivedNamesUplink, Code::Vm].contains(&outcome.code);
        assert_eq!(outcome.found.is_ok(), is_independent, "{}", outcome.code);
    }
    let firewall = World::surveyed(|survey| survey.firewall = Err(Gap::new("nft cannot be run"))).survey();
    let outcomes = examine(&firewall);
    let of = |code| outcomes.iter().find(|outcome| outcome.code == code).unwrap();
    assert_eq!(of(Code::FirewallDropsShim).found, Err(Gap::new("nft cannot be run")));
    let unread = World::with(|world| world.server.state = ServerState::Failed).survey();
    let outcomes = examine(&unread);
    let of = |code| outcomes.iter().find(|outcome| outcome.code == code).unwrap();
    for code in [Code::ForeignChild, Code::Vm, Code::MacDuplicate, Code::IpvlanBeside] {
        assert_eq!(of(code).found, Err(Gap::new("the guests of lxd could not be read")), "{code}");
    }
    let unknown = World::surveyed(|survey| survey.networkd.runs = None).survey();
    assert!(examine(&unknown).iter().any(|outcome| outcome.found.is_err()));
}

#[test]
fn a_faulty_configuration_is_shown_in_full() {
    let world =
        World::surveyed(|survey| survey.config_fault = Some("line 2: no such key\n  2 | x".to_owned()));
    assert_eq!(world.finds(Code::ConfigRejected).evidence, ["line 2: no such key", "2 | x"]);
}

#[test]
fn the_unit_says_why_the_daemon_ended() {
    let world = World {
        runs: false,
        ..World::surveyed(|survey| {
            survey.unit = Ok(UnitState {
                exists: true,
                active: "failed".to_owned(),
                result: "exit-code".to_owned(),
                log: vec!["the last word".to_owned()],
                ..UnitState::default()
            });
        })
    };
    let finding = world.finds(Code::NotRunning);
    assert_eq!(finding.evidence[2..], ["its unit is failed, because of exit-code", "the last word"]);
    assert_eq!(finding.cure, ["systemctl start macvlan-shimd"]);
}

fn machine(fields: &[(&str, &str)]) -> Machine {
    let dmi = fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
    Machine { dmi: dmi.collect(), is_virtual: true, cloud: None }
}

#[test]
fn a_virtual_switch_is_suspected_if_no_guest_gets_an_address() {
    for vendor in ["VMware, Inc.", "Microsoft Corporation", "innotek GmbH", "QEMU"] {
        let vm = move |survey: &mut Survey| survey.machine = machine(&[("sys_vendor", vendor)]);
        World::surveyed(vm).shows_nothing();
        let world = World {
            change: Box::new(vm),
            ..World::with(|world| {
                world.snapshot.children.insert(in_netns(1), child(1, &["fd77::101/64"]));
            })
        };
        let codes: Vec<Code> = world.found().iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::HypervisorMac, Code::NoIpv4]);
        let without_guests = World {
            change: Box::new(vm),
            ..World::with(|world| {
                world.guests.clear();
                world.snapshot.children.clear();
            })
        };
        assert_eq!(without_guests.finds(Code::HypervisorMac).severity, Severity::Note);
    }
    World::surveyed(|survey| {
        survey.machine = Machine { is_virtual: false, ..machine(&[("sys_vendor", "Microsoft Corporation")]) };
    })
    .shows_nothing();
}

#[test]
fn a_cloud_is_known_by_its_firmware_or_by_cloud_init() {
    for (field, value, name) in [
        ("sys_vendor", "Amazon EC2", "AWS"),
        ("bios_vendor", "Google", "Google Cloud"),
        ("sys_vendor", "Hetzner", "Hetzner"),
        ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", "Azure"),
    ] {
        let world = World::surveyed(move |survey| survey.machine = machine(&[(field, value)]));
        assert!(world.finds(Code::CloudMac).sentence.contains(name));
    }
    World::surveyed(|survey| survey.machine.cloud = Some("aws".to_owned())).finds(Code::CloudMac);
    World::surveyed(|survey| survey.machine = machine(&[("sys_vendor", "Dell Inc.")])).shows_nothing();
}

#[test]
fn a_guest_without_ipv4_is_named_once_dhcp_has_had_its_time() {
    let without = |age: u64| World {
        change: Box::new(move |survey| survey.ages = [(1001, Duration::from_secs(age))].into()),
        ..World::with(|world| drop(world.snapshot.children.insert(in_netns(1), child(1, &["fd77::101/64"]))))
    };
    let finding = without(400).finds(Code::NoIpv4);
    assert_eq!(finding.sentence, "lxd:web eth0 is up for 6m without an IPv4 address");
    without(5).shows_nothing();
    let nothing = World::with(|world| drop(world.snapshot.children.insert(in_netns(1), child(1, &[]))));
    nothing.finds(Code::NoAddress);
    // A host without IPv4 on the parent expects none.
    World::with(|world| {
        world.snapshot.children.insert(in_netns(1), child(1, &["fd77::101/64"]));
        world.snapshot.addresses.retain(|key, _| key.address.addr().is_ipv6());
    })
    .shows_nothing();
}

/// A further uplink, that a stopped guest is on.
fn on_eth1(world: &mut World, change: impl FnOnce(&mut Link)) {
    let mut eth1 = link(LinkIndex(10), "eth1", LinkKind::default());
    change(&mut eth1);
    world.snapshot.links.insert(LinkIndex(10), eth1);
    let mut guest = container("off", 9);
    guest.power = Power::Stopped;
    guest.nics = Nics::Told(vec![Nic {
        parent: NicParent::Link { name: "eth1".into(), vlan: None },
        ..guest.nics.told()[0].clone()
    }]);
    world.guests.push(guest);
}

#[test]
fn a_parent_that_is_a_port_is_found_before_its_guest_can_start() {
    for (kind, code) in [
        (LinkKind::Bridge, Some(Code::ParentIsPort)),
        (LinkKind::Other("bond".into()), Some(Code::ParentBusy)),
        (LinkKind::Other("openvswitch".into()), Some(Code::ParentBusy)),
        (LinkKind::Other("vrf".into()), None),
    ] {
        let world = World::with(|world| {
            world.snapshot.links.insert(LinkIndex(11), link(LinkIndex(11), "up0", kind));
            on_eth1(world, |eth1| eth1.master = Some(LinkIndex(11)));
        });
        match code {
            Some(code) => assert!(world.finds(code).evidence.contains(&"eth1: master up0".to_owned())),
            None => world.shows_nothing(),
        }
    }
}

#[test]
fn an_ipvlan_on_a_parent_is_found() {
    let with = |lower| {
        World::with(|world| {
            let ipvlan =
                Link { lower: Some(lower), ..link(LinkIndex(11), "ipv0", LinkKind::Other("ipvlan".into())) };
            world.snapshot.links.insert(LinkIndex(11), ipvlan);
            on_eth1(world, |_| {});
        })
    };
    with(LinkIndex(10)).finds(Code::IpvlanBeside);
    with(LinkIndex(77)).shows_nothing();
}

#[test]
fn a_firewall_that_knows_only_the_uplink_is_found_and_one_that_is_closed_is_a_note() {
    let match_of = |name: &str| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "iifname"}}}}, "right": "{name}"}}}}, {{"accept": null}}"#
        )
    };
    let only = |name: &'static str| {
        let rules = match_of(name);
        World::surveyed(move |survey| survey.firewall = Ok(nft(&rules)))
    };
    let finding = only("eth0").finds(Code::FirewallDropsShim);
    assert!(finding.sentence.ends_with("over IPv4 and IPv6"), "{finding:#?}");
    assert_eq!(finding.cure, ["nft insert rule inet t in iifname \"mvs-*\" accept"]);
    assert!(finding.evidence[0].contains("chain in: its policy is drop"), "{finding:#?}");
    assert_eq!(only("lo").finds(Code::FirewallClosed).severity, Severity::Note);
    World::surveyed(move |survey| survey.firewall = Ok(nft(r#"{"accept": null}"#))).shows_nothing();
}

#[test]
fn the_problems_of_the_kernel_are_told() {
    let eth0 =
        |change: fn(&mut Link)| World::with(|world| change(world.snapshot.links.get_mut(&ETH0).unwrap()));
    let down = eth0(|eth0| eth0.up = false).finds(Code::ParentDown);
    assert_eq!(down.evidence, ["eth0 has no flag UP", "on it: lxd:web eth0"]);
    eth0(|eth0| eth0.no_carrier = true).finds(Code::NoCarrier);
    let without_shim = |change: fn(&mut World)| {
        World::with(|world| {
            world.snapshot.links.remove(&SHIM);
            change(world);
        })
    };
    without_shim(|world| world.snapshot.links.get_mut(&ETH0).unwrap().wireless = true)
        .finds(Code::ParentWifi);
    World::with(|world| world.snapshot.host.arp_ignore = 1).finds(Code::ArpIgnore);
    World::with(|world| world.snapshot.host.sysctls = Sysctls::ReadOnly).finds(Code::SysctlsUnavailable);
    World::with(|world| {
        world.snapshot.filter = Filter { lacks: Some("no nft".to_owned()), ..Filter::default() }
    })
    .finds(Code::FilterMissing);
    World::with(|world| {
        let foreign = ForeignChain {
            table: "t".to_owned(),
            name: "c".to_owned(),
            devices: ["mvs-eth0".to_owned()].into(),
        };
        world.snapshot.filter.foreign.push(foreign);
    })
    .finds(Code::FilterForeign);
    World::with(|world| {
        let table = NeighbourTable {
            family: Family::V4,
            entries: 1030,
            exempt: 0,
            limit: 1024,
            refusals: 6,
            refuses: true,
        };
        world.tables.push(table);
    })
    .finds(Code::NeighbourTableFull);
}

#[test]
fn the_problems_of_guests_and_servers_are_told() {
    let with_child =
        |child: Child| World::with(|world| drop(world.snapshot.children.insert(in_netns(1), child)));
    with_child(child(1, &["10.9.9.9/24"])).finds(Code::OffLink);
    with_child(child(1, &["192.168.77.12/24"])).finds(Code::HostAddress);
    with_child(Child { mode: Mode::Private, ..child(1, &["192.168.77.101/24"]) }).finds(Code::Mode);
    World::with(|world| world.snapshot.children.clear()).finds(Code::NotSeen);
    World::with(|world| world.config = config("[[parent]]\nname = 'eth7'\n")).finds(Code::ParentAbsent);
    let away = |state, message: &str| {
        World::with(|world| {
            world.server = Server { state, message: Some(message.to_owned()), ..world.server.clone() };
            world.snapshot.children.clear();
        })
    };
    away(ServerState::Absent, "no socket").finds(Code::NoServer);
    away(ServerState::Failed, "no permission").finds(Code::ServerFailed);
}

#[test]
fn a_socket_that_is_closed_to_the_unit_is_found_by_root_too() {
    let with = |group: &str, groups: &str| {
        let (group, groups) = (group.to_owned(), groups.to_owned());
        World::surveyed(move |survey| {
            let path = "/var/lib/lxd/unix.socket".to_owned();
            survey.sockets =
                vec![SocketRights { path, group, is_open_to_group: true, is_open_to_all: false }];
            let groups = vec!["macvlan-shim".to_owned(), groups];
            survey.unit = Ok(UnitState { exists: true, groups, ..UnitState::default() });
        })
    };
    let finding = with("sudo", "lxd").finds(Code::ServerFailed);
    assert!(finding.cure[0].contains("SupplementaryGroups=sudo"), "{finding:#?}");
    with("lxd", "lxd").shows_nothing();
}

#[test]
fn networkd_is_a_danger_only_if_nothing_tells_it_to_spare_us() {
    let networkd = |keys: &[(&str, &str)], spares_shims, rule: bool| {
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let networkd = Networkd { runs: Some(true), keys, spares_shims };
        World {
            change: Box::new(move |survey| survey.networkd = networkd),
            ..World::with(|world| {
                if rule {
                    world.snapshot.rules.insert(Rule::look_up(Family::V4, 5000, 52));
                }
            })
        }
    };
    networkd(&[], false, false).finds(Code::NetworkdForeignRoutes);
    networkd(&[], true, false).shows_nothing();
    networkd(&[("ManageForeignRoutes", "no")], false, false).shows_nothing();
    let codes = |world: World| world.found().iter().map(|finding| finding.code).collect::<Vec<_>>();
    assert_eq!(codes(networkd(&[], true, true)), [Code::NetworkdForeignRoutes, Code::PolicyRules]);
    let spared = &[("ManageForeignRoutingPolicyRules", "no")];
    assert_eq!(codes(networkd(spared, true, true)), [Code::PolicyRules]);
}

#[test]
fn policy_rules_are_noted_with_table_77() {
    let world = World::with(|world| {
        world.snapshot.rules.insert(Rule::look_up(Family::V4, 0, names::TABLE_LOCAL));
        world.snapshot.rules.insert(Rule {
            family: Family::V4,
            priority: 5270,
            action: Action::LookUp(52),
            ..Rule::default()
        });
    });
    let finding = world.finds(Code::PolicyRules);
    assert_eq!((finding.severity, finding.evidence.len()), (Severity::Note, 1));
    assert!(finding.sentence.contains("table 77 with rule 5269"), "{finding:#?}");
}

#[test]
fn a_bridge_below_guests_is_found_if_iptables_cuts_its_ports() {
    let save = |policy: &str| {
        vec![(
            Family::V4,
            format!(
                "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD {policy} [7:420]\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\nCOMMIT\n"
            ),
        )]
    };
    let bridge = |policy: &str, sysctl: i64| {
        let firewall = Firewall::read("", "", save(policy)).unwrap();
        World {
            change: Box::new(move |survey| {
                survey.firewall = Ok(firewall);
                survey.sysctls.insert("net.bridge.bridge-nf-call-iptables".to_owned(), sysctl);
            }),
            ..World::with(|world| world.snapshot.links.get_mut(&ETH0).unwrap().kind = LinkKind::Bridge)
        }
    };
    let finding = bridge("DROP", 1).finds(Code::BridgeNf);
    assert!(finding.evidence[1].ends_with("(7 packets so far)"), "{finding:#?}");
    bridge("ACCEPT", 1).shows_nothing();
    bridge("DROP", 0).shows_nothing();
}

#[test]
fn a_link_by_hand_is_found_with_its_routes_and_the_file_that_makes_it() {
    let mynet = LinkIndex(12);
    let by_hand = |destination: &str| World {
        change: Box::new(|survey| {
            survey.boot_files = config_lines(&[
                "#!/bin/sh",
                "ip link add mynet link eth0 type macvlan mode bridge",
                "# mynet",
                "ip link add mynet2",
            ]);
        }),
        ..World::with(|world| {
            let link = Link { lower: Some(ETH0), ..link(mynet, "mynet", LinkKind::Macvlan(Mode::Bridge)) };
            world.snapshot.links.insert(mynet, link);
            route(&mut world.snapshot, mynet, destination);
        })
    };
    let finding = by_hand("192.168.77.96/27").finds(Code::RecipeLink);
    assert_eq!(
        finding.evidence,
        [
            "mynet@eth0, a macvlan of the host, leads to guests:",
            "192.168.77.96/27 dev mynet",
            "/etc/x:2: ip link add mynet link eth0 type macvlan mode bridge",
        ]
    );
    assert_eq!(finding.cure[0], "ip link delete mynet");
    by_hand("192.168.77.0/30").shows_nothing();
}

#[test]
fn children_of_nobody_are_noted_unless_their_range_is_routed() {
    let docker = |world: &mut World| {
        let child = Child { mac: Mac([2, 0x42, 0xc0, 0xa8, 77, 200]), ..child(9, &["192.168.77.200/24"]) };
        world.snapshot.children.insert(in_netns(9), child);
    };
    let finding = World::with(docker).finds(Code::ForeignChild);
    assert_eq!(finding.evidence, ["02:42:c0:a8:4d:c8 192.168.77.200/24 (Docker's, by its MAC)"]);
    World::with(|world| {
        docker(world);
        world.config = config("[[parent]]\nname = 'eth0'\nroutes = ['192.168.77.192/27']\n");
    })
    .shows_nothing();
}

#[test]
fn network_manager_must_not_manage_a_shim() {
    let with = |state: Option<&'static str>| {
        World::surveyed(move |survey| {
            survey.network_manager =
                Ok(state.map(|state| [("mvs-eth0".to_owned(), state.to_owned())].into()));
        })
    };
    with(Some("connecting")).finds(Code::NetworkmanagerManages);
    with(Some("unmanaged")).shows_nothing();
    with(None).shows_nothing();
}

#[test]
fn a_running_vm_is_noted() {
    let vm = |power| {
        World::with(|world| {
            world.guests.push(Guest { kind: GuestKind::VirtualMachine, power, ..container("desk", 8) });
        })
    };
    assert_eq!(vm(Power::Running).finds(Code::Vm).evidence, ["lxd:desk"]);
    vm(Power::Stopped).shows_nothing();
}

#[test]
fn two_machines_with_one_mac_are_found() {
    let codes = |world: World| world.found().iter().map(|finding| finding.code).collect::<Vec<_>>();
    let twins = World::with(|world| world.guests.push(container("copy", 1)));
    assert!(codes(twins).contains(&Code::MacDuplicate));
    let neighbour = |mac| {
        World::with(|world| {
            let neighbour = Neighbour { mac: Some(mac), state: NeighbourState::Stale, ours: false };
            world.snapshot.neighbours.insert((ip("192.168.77.50"), ETH0), neighbour);
        })
    };
    let finding = neighbour(Mac([2, 0, 0, 0, 1, 2])).finds(Code::MacDuplicate);
    assert!(finding.sentence.contains("the MAC of eth0"), "{finding:#?}");
    neighbour(Mac([2, 0, 0, 0, 1, 3])).finds(Code::MacDuplicate);
    neighbour(mac(50)).shows_nothing();
}

#[test]
fn a_daemon_that_knows_other_guests_than_the_server_is_told() {
    let world = World::surveyed(|survey| {
        if let DaemonState::Answers(status) = &mut survey.daemon {
            status.guests.clear();
        }
    });
    assert_eq!(world.finds(Code::ServerSilent).evidence, ["different: default/web"]);
    let last_read = |ago: u64| {
        World::surveyed(move |survey| {
            let DaemonState::Answers(status) = &mut survey.daemon else { return };
            status.servers[0].last_read = Some(Timestamp::default());
            survey.time = (std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(ago)).into();
        })
    };
    let finding = last_read(16 * 60).finds(Code::ServerSilent);
    assert_eq!(finding.sentence, "lxd was last read 16 min ago");
    last_read(6 * 60).shows_nothing();
}

#[test]
fn parts_of_the_configuration_that_match_nothing_are_noted() {
    let with = |text: &str| World::with(|world| world.config = config(text));
    with("[select]\nprofiles = ['mv', 'macvlna']\n").finds(Code::ConfigUnused);
    with("[select]\nprojects = ['default', 'shop']\n").finds(Code::ConfigUnused);
    with("[select]\nprofiles = ['mv']\nprojects = ['default']\n[[parent]]\nname = 'eth0'\n").shows_nothing();
    let idle = |keep: &str| {
        World::with(|world| {
            world.snapshot.links.insert(LinkIndex(10), link(LinkIndex(10), "eth1", LinkKind::default()));
            world.config = config(&format!("[[parent]]\nname = 'eth1'\n{keep}"));
        })
    };
    idle("").finds(Code::ConfigUnused);
    idle("keep = true\n").shows_nothing();
    let nothing = with("[select]\nprofiles = ['macvlna']\n").found();
    assert!(nothing.iter().any(|finding| finding.code == Code::SelectMatchesNothing), "{nothing:#?}");
}

#[test]
fn masquerading_that_names_the_uplink_is_found_for_networks_that_are_there() {
    let wireguard = |rule: &str, forwards: i64| {
        let save = format!("*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING {rule} -j MASQUERADE\nCOMMIT\n");
        let firewall = Firewall::read("", "", vec![(Family::V4, save)]).unwrap();
        World {
            change: Box::new(move |survey| {
                survey.firewall = Ok(firewall);
                survey.sysctls.insert("net.ipv4.ip_forward".to_owned(), forwards);
            }),
            ..World::with(|world| {
                world
                    .snapshot
                    .links
                    .insert(LinkIndex(20), link(LinkIndex(20), "wg0", LinkKind::Other("wireguard".into())));
                network(&mut world.snapshot, LinkIndex(20), "10.8.0.1/24");
            })
        }
    };
    let finding = wireguard("-s 10.8.0.0/24 -o eth0", 1).finds(Code::NatNamesUplink);
    assert_eq!(finding.cure[0], "iptables -t nat -A POSTROUTING -s 10.8.0.0/24 -o mvs-+ -j MASQUERADE");
    wireguard("-s 10.8.0.0/24 -o eth0", 0).shows_nothing();
    wireguard("-s 10.8.0.0/24 ! -o wg0", 1).shows_nothing();
    wireguard("-s 10.99.0.0/24 -o eth0", 1).shows_nothing();
}

#[test]
fn programs_that_name_the_uplink_are_found() {
    let with = |program: &'static str, lines: &'static [&'static str]| {
        World::surveyed(move |survey| {
            survey.programs.insert(program.to_owned(), config_lines(lines));
        })
    };
    let finding = with("dnsmasq", &["domain=x", "interface=eth0"]).finds(Code::DnsmasqNamesUplink);
    assert_eq!(finding.evidence, ["/etc/x:2: interface=eth0"]);
    with("dnsmasq", &["interface=eth0", "interface=mvs-*"]).shows_nothing();
    with("dnsmasq", &["interface=lxdbr0"]).shows_nothing();
    with("keepalived", &["vrrp_instance a {", "interface eth0", "}"]).finds(Code::KeepalivedNamesUplink);
    with("keepalived", &["interface eth1"]).shows_nothing();
}
