//! Guests.

use super::*;

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

#[test]
fn the_problems_of_guests_and_servers_are_told() {
    let with_child =
        |child: Child| World::with(|world| drop(world.snapshot.children.insert(in_netns(1), child)));
    with_child(child(1, &["10.9.9.9/24"])).finds(Code::OffLink);
    with_child(child(1, &["192.168.77.12/24"])).finds(Code::HostAddress);
    with_child(Child { mode: Mode::Private, ..child(1, &["192.168.77.101/24"]) }).finds(Code::Mode);
    World::with(|world| world.snapshot.children.clear()).finds(Code::NotSeen);
    World::with(|world| world.config = config("[[parent]]\nname = 'eth7'\n")).finds(Code::ParentAbsent);
    let on_eth7 = |power| {
        World::with(|world| {
            let parent = NicParent::Link { name: "eth7".into(), vlan: None };
            let Nics::Told(nics) = &mut world.guests[0].nics else { panic!("no NICs") };
            nics[0].parent = parent;
            world.guests[0].power = power;
            world.snapshot.children.clear();
        })
    };
    on_eth7(Power::Stopped).finds(Code::ParentAbsent);
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
fn a_running_vm_is_noted() {
    let vm = |power| {
        World::with(|world| {
            world.guests.push(Guest { kind: GuestKind::VirtualMachine, power, ..container("desk", 8) });
        })
    };
    assert_eq!(vm(Power::Running).finds(Code::Vm).evidence, ["lxd:desk"]);
    vm(Power::Stopped).shows_nothing();
}
