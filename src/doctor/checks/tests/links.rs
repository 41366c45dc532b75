//! Links of the host, and children on its parents.

use super::*;

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
