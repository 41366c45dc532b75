//! The owners of children, and the reasons.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::model::inventory::{
    Guest, GuestKind, Home, Mode, Nic, NicParent, Nics, OptOut, Power, Server, ServerId, ServerState,
};
use crate::model::snapshot::{Child, ChildKey, Link, Netns};
use crate::model::{Inventory, LinkIndex, Mac, NetnsId, Snapshot};
use crate::reconcile::facts::{HostFacts, Trust};

const ETH0: LinkIndex = LinkIndex(2);
const ETH1: LinkIndex = LinkIndex(3);

fn mac(last: u8) -> Mac {
    Mac([0, 0x16, 0x3e, 0, 0, last])
}

fn child_key(netns: i32, index: u32) -> ChildKey {
    ChildKey { netns: Netns::Id(NetnsId(netns)), index: LinkIndex(index) }
}

/// A host with eth0 and eth1, its guests, and the memory of a process.
#[derive(Default)]
struct World {
    snapshot: Snapshot,
    guests: Vec<Guest>,
    joins: Joins,
    homes: Homes,
}

impl World {
    fn new() -> World {
        let link =
            |index, name: &str| (index, Link { index, name: name.into(), up: true, ..Link::default() });
        let links = [link(ETH0, "eth0"), link(ETH1, "eth1")].into();
        World { snapshot: Snapshot { links, ..Snapshot::default() }, ..World::default() }
    }

    /// A container that runs, with its NICs on eth0.
    fn guest(&mut self, name: &str, nics: &[(&str, Mac)]) -> &mut Guest {
        let nic = |(name, mac): &(&str, Mac)| Nic {
            name: (*name).into(),
            link: (*name).into(),
            mac: Some(*mac),
            parent: NicParent::Link { name: "eth0".into(), vlan: None },
            mode: Mode::Bridge,
        };
        self.guests.push(Guest {
            project: "default".into(),
            name: name.into(),
            kind: GuestKind::Container,
            power: Power::Running,
            home: Home::Unknown,
            profiles: Vec::new(),
            opt: OptOut::In,
            nics: Nics::Told(nics.iter().map(nic).collect()),
        });
        self.guests.last_mut().unwrap()
    }

    fn child(&mut self, key: ChildKey, name: &str, mac: Mac, parent: LinkIndex) -> &mut Child {
        let child = Child {
            parent,
            mac,
            mode: Mode::Bridge,
            name: name.into(),
            tap: false,
            up: true,
            master: None,
            sources: Default::default(),
            addresses: BTreeMap::new(),
        };
        self.snapshot.children.insert(key, child);
        self.snapshot.children.get_mut(&key).unwrap()
    }

    fn lives_in(&mut self, name: &str, pid: u32, netns: i32) {
        self.guests.iter_mut().find(|guest| guest.name == name).unwrap().home = Home::Pid(pid);
        self.snapshot.homes.insert(Home::Pid(pid), Netns::Id(NetnsId(netns)));
    }

    /// Looks again. Returns the owner of each child.
    fn look(&mut self) -> Vec<String> {
        let server =
            Server { state: ServerState::Connected, guests: Some(self.guests.clone()), ..Server::default() };
        let servers = [(ServerId("lxd".into()), Arc::new(server))].into();
        let (inventory, config, trust) = (Inventory { servers }, Config::default(), Trust::default());
        let host = HostFacts::gather(&config, &inventory, &self.snapshot, &[].into());
        let facts = Facts { snapshot: &self.snapshot, config: &config, host: &host, trust: &trust };
        let running = Running::of(&facts, &inventory);
        self.joins = join(&facts, &running, &self.joins, &self.homes);
        self.homes = homes(&facts, &running, &self.joins, &self.homes);
        let say = |(ChildKey { netns, index }, Joined { nic, by }): (&ChildKey, &Joined)| {
            let Netns::Id(netns) = netns else { panic!("{nic} is on the host") };
            format!("{netns}:{index} {nic}: {by:?}")
        };
        self.joins.children().map(say).collect()
    }
}

#[test]
fn a_nic_is_known_by_parent_and_mac_and_a_child_beside_it_is_its_sibling() {
    let mut world = World::new();
    world.guest("web", &[("eth0", mac(1))]);
    world.child(child_key(1, 7), "eth0", mac(1), ETH0);
    world.child(child_key(1, 8), "vrrp", mac(9), ETH0);
    world.child(child_key(1, 9), "down", mac(8), ETH0).up = false;
    world.child(child_key(2, 7), "eth0", mac(7), ETH0);
    assert_eq!(world.look(), ["1:7 lxd:web eth0: ParentAndMac", "1:8 lxd:web eth0: Sibling"]);
}

#[test]
fn a_joined_child_stays_joined_whatever_its_mac() {
    let mut world = World::new();
    world.guest("web", &[("eth0", mac(1))]);
    world.child(child_key(1, 7), "eth0", mac(1), ETH0);
    world.look();
    world.child(child_key(1, 7), "eth0", mac(9), ETH1);
    assert_eq!(world.look(), ["1:7 lxd:web eth0: Remembered"]);
    // Another child that now has the MAC is known better, unless it is in another guest's namespace.
    world.guest("thief", &[("eth0", mac(2))]);
    world.child(child_key(2, 7), "eth0", mac(2), ETH0);
    world.look();
    world.child(child_key(2, 8), "eth9", mac(1), ETH0);
    assert_eq!(
        world.look(),
        ["1:7 lxd:web eth0: Remembered", "2:7 lxd:thief eth0: ParentAndMac", "2:8 lxd:thief eth0: Sibling"]
    );
}

#[test]
fn a_nic_is_known_by_mac_alone_if_only_one_child_has_it() {
    let mut world = World::new();
    world.guest("web", &[("eth0", mac(1))]);
    world.child(child_key(1, 7), "eth0", mac(1), ETH1);
    assert_eq!(world.look(), ["1:7 lxd:web eth0: Mac"]);
    let mut world = World { joins: Joins::default(), homes: Homes::new(), ..world };
    world.child(child_key(2, 7), "eth0", mac(1), ETH1);
    assert!(world.look().is_empty());
}

#[test]
fn a_nic_is_known_by_home_if_macs_do_not_identify_it() {
    let mut world = World::new();
    world.guest("web", &[("eth0", mac(1)), ("eth1", mac(2))]);
    world.child(child_key(1, 7), "eth1", mac(8), ETH0);
    world.child(child_key(1, 8), "eth0", mac(9), ETH0);
    assert!(world.look().is_empty());
    world.lives_in("web", 1234, 1);
    assert_eq!(world.look(), ["1:7 lxd:web eth1: Home", "1:8 lxd:web eth0: Home"]);
}

#[test]
fn of_two_with_its_mac_a_nic_is_the_one_at_home_then_the_one_that_is_up() {
    let mut world = World::new();
    world.guest("web", &[("eth0", mac(1))]);
    world.child(child_key(1, 7), "eth0", mac(1), ETH0).up = false;
    world.child(child_key(2, 7), "eth0", mac(1), ETH0);
    assert_eq!(world.look(), ["2:7 lxd:web eth0: ParentAndMac"]);
    world.lives_in("web", 1234, 1);
    assert_eq!(world.look(), ["1:7 lxd:web eth0: ParentAndMac"]);
}

#[test]
fn every_reason_is_a_clause() {
    for by in [By::ParentAndMac, By::Remembered, By::Mac, By::Home, By::Sibling] {
        let text = by.to_string();
        assert!(text.starts_with("it ") && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn children_in_a_guests_namespace_are_its_own_unless_another_is_known_there() {
    let mut world = World::new();
    world.guest("db", &[]).nics = Nics::AllInItsNamespace;
    world.child(child_key(1, 7), "front", mac(1), ETH0);
    world.child(child_key(1, 8), "back", mac(2), ETH1);
    world.child(child_key(1, 9), "quiet", mac(3), ETH1).mode = Mode::Private;
    assert!(world.look().is_empty());
    world.lives_in("db", 1234, 1);
    let its = ["1:7 lxd:db front: Home", "1:8 lxd:db back: Home", "1:9 lxd:db back: Sibling"];
    assert_eq!(world.look(), its);
    // Its name is that of the link, whatever it was before.
    world.snapshot.children.get_mut(&child_key(1, 7)).unwrap().name = "eth0".into();
    assert_eq!(world.look()[0], "1:7 lxd:db eth0: Home");
    // No other guest has these by their MACs.
    world.guest("web", &[("eth0", mac(1))]);
    assert_eq!(world.look()[0], "1:7 lxd:db eth0: Home");
    // A guest whose NIC is there already owns everything there.
    world.child(child_key(2, 7), "eth0", mac(1), ETH0);
    world.child(child_key(2, 8), "vrrp", mac(8), ETH0);
    world.guest("spy", &[]).nics = Nics::AllInItsNamespace;
    world.lives_in("spy", 1235, 2);
    assert_eq!(world.look()[3..], ["2:7 lxd:web eth0: ParentAndMac", "2:8 lxd:web eth0: Sibling"]);
    // The id of a namespace is used again.
    for index in [7, 8] {
        world.snapshot.children.remove(&child_key(2, index));
    }
    world.child(child_key(2, 9), "new", mac(9), ETH0);
    assert_eq!(world.look()[3..], ["2:9 lxd:spy new: Home"]);
}
