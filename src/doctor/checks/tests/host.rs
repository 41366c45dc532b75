//! The machine, its kernel and its sysctls.

use super::*;

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
