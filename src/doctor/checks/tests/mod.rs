//! Each fault is made on a host that is otherwise clean, and exactly its check finds it.

mod daemon;
mod guests;
mod host;
mod links;
mod programs;

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
use crate::report::{Circumstances, FromScratch};

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
        let circumstances =
            Circumstances { host: "node", time: Timestamp::default(), tables: &tables, problems: &[] };
        let view = KernelView::of(FromScratch::decide(&inputs), &inputs, circumstances);
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
