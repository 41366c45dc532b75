//! The addresses that no guest's root ever gets, whatever it does to its links, in whatever order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::config::Probe;
use macvlan_shim::model::neighbours::solicited_node;
use macvlan_shim::model::plan::Scope;
use macvlan_shim::model::snapshot::{ChildKey, NeighbourState, Netns, Snapshot};
use macvlan_shim::model::{LinkIndex, Mac, NetnsId};
use macvlan_shim::reconcile::{LanQuestions, Memory, desire, diff};
use proptest::prelude::*;
use proptest::sample::select;

use super::worlds::{ADDRESSES, Event, LAN_MACHINE, World, good_net, wide_or_host, world};
use super::{apply, config, configured_ranges, is_host};
use crate::in_memory_kernel::InMemoryKernel;

/// A route to a guest: the parent, and the address.
type Place = (LinkIndex, IpAddr);

/// The addresses whose traffic must not go to a guest. Those of the host and of its gateways count on every
/// parent, and those of known machines on the parent where they are. The exceptions of the policy are left
/// out.
fn victims(world: &World, snapshot: &Snapshot) -> BTreeSet<Place> {
    let allowed = |ip: &IpAddr| world.config.policy.allow.iter().any(|range| range.contains(ip));
    let given: BTreeSet<Mac> = (world.inventory.guests())
        .flat_map(|(_, guest)| guest.nics.told().iter().filter_map(|nic| nic.mac))
        .collect();
    let own =
        snapshot.addresses.iter().filter(|(_, address)| !address.ours).map(|(key, _)| key.address.addr());
    let is_shim = |link| snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some());
    let gateways = snapshot.routing.gateways().filter(|(ip, link)| !is_shim(*link) && !allowed(ip));
    let gateways = gateways.map(|(ip, _)| ip);
    let anywhere = own.chain(gateways).flat_map(|ip| snapshot.links.keys().map(move |link| (*link, ip)));
    let known = snapshot.neighbours.iter().filter(|(_, entry)| {
        let stranger = entry.mac.is_some_and(|mac| !given.contains(&mac));
        stranger && entry.state == NeighbourState::Reachable && !entry.ours
    });
    anywhere.chain(known.map(|((ip, link), _)| (*link, *ip))).collect()
}

/// The addresses that lead to guests.
fn routed(snapshot: &Snapshot) -> BTreeSet<Place> {
    let ours = snapshot.routes.keys().filter(|key| snapshot.routes[key].ours && is_host(&key.destination));
    let parent = |link| snapshot.links.get(link).and_then(|link| link.shim_parent());
    ours.filter_map(|key| Some((parent(&key.link)?, key.destination.addr()))).collect()
}

/// The address of a guest, or of a machine on the LAN.
fn mac() -> impl Strategy<Value = Mac> {
    prop_oneof![2 => (1u8..6).prop_map(|last| Mac([0, 0x16, 0x3e, 0, 0, last])), 2 => Just(LAN_MACHINE)]
}

/// A deed of root in a guest: one thing, or two that belong together.
fn deed() -> impl Strategy<Value = Vec<Event>> {
    let key =
        |index: LinkIndex| (0i32..4).prop_map(move |id| ChildKey { netns: Netns::Id(NetnsId(id)), index });
    let any_key = || prop_oneof![key(LinkIndex(10)), key(LinkIndex(11))];
    let any_net = || {
        (select(ADDRESSES.to_vec()), any::<bool>())
            .prop_map(|(text, wide)| wide_or_host(text.parse::<IpAddr>().unwrap(), wide))
    };
    let net = || prop_oneof![2 => good_net(), 1 => any_net()];
    let one = prop_oneof![
        6 => (any_key(), net()).prop_map(|(key, address)| Event::Gets { key, address }),
        2 => (any_key(), net()).prop_map(|(key, address)| Event::Loses { key, address }),
        3 => (any_key(), mac()).prop_map(|(key, mac)| Event::OtherMac { key, mac }),
        2 => (key(LinkIndex(11)), mac(), any::<bool>()).prop_map(|(key, mac, up)| Event::Nested { key, mac, up }),
        1 => any_key().prop_map(|key| Event::NoChild { key }),
        1 => mac().prop_map(|mac| Event::ComesHome { mac }),
    ];
    // A guest that takes a machine's MAC takes its address too.
    let theft = (key(LinkIndex(10)), good_net()).prop_map(|(key, address)| {
        vec![Event::OtherMac { key, mac: LAN_MACHINE }, Event::Gets { key, address }]
    });
    prop_oneof![3 => one.prop_map(|one| vec![one]), 1 => theft]
}

/// Decides on the changes as the daemon does, and acts.
fn settle(world: &World, kernel: &mut InMemoryKernel, memory: &mut Memory) {
    let (desired, next) = desire(&world.inputs(&kernel.snapshot, Instant::now()), memory);
    *memory = next;
    let plan = diff(&desired, &kernel.snapshot);
    apply(kernel, &plan);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_deed_of_a_guest_gets_it_an_address_of_others(
        mut world in world(),
        machines in prop::collection::vec(((2u32..4).prop_map(LinkIndex), good_net()), 0..4),
        deeds in prop::collection::vec(deed(), 1..16)
    ) {
        for (link, address) in machines {
            let (address, state) = (address.addr(), NeighbourState::Reachable);
            let known = Event::Neighbour { link, address, mac: LAN_MACHINE, state, ours: false };
            known.happen(&mut world.kernel, &mut world.inventory);
        }
        let (mut kernel, mut memory) = (world.kernel.clone(), Memory::default());
        settle(&world, &mut kernel, &mut memory);
        let before = routed(&kernel.snapshot);
        let victims: BTreeSet<Place> = &victims(&world, &kernel.snapshot) - &before;
        let links = kernel.snapshot.links.clone();
        let mut inventory = world.inventory.clone();
        for deed in deeds.into_iter().flatten() {
            deed.happen(&mut kernel, &mut inventory);
            settle(&world, &mut kernel, &mut memory);
            let stolen: Vec<_> = routed(&kernel.snapshot).intersection(&victims).copied().collect();
            prop_assert!(stolen.is_empty(), "{deed:?} gets {stolen:?}");
            for (index, link) in &links {
                let now = kernel.snapshot.links.get(index);
                prop_assert!(link.shim_parent().is_some() || now == Some(link), "{deed:?} changes {link:?}");
            }
        }
    }
}

/// A machine on the LAN of a link, which answers everybody who asks for its address.
type Machine = (LinkIndex, IpAddr, Mac);

/// Decides, asks and acts as the daemon does. Machines answer when they are asked for, and everybody else is
/// silent.
fn ask_and_settle(
    world: &World,
    kernel: &mut InMemoryKernel,
    memory: &mut Memory,
    questions: &mut LanQuestions,
    machines: &[Machine],
    now: Instant,
) {
    for _ in 0..4 {
        let (desired, next) = desire(&world.inputs(&kernel.snapshot, now), memory);
        *memory = next;
        questions.look(&world.config, &desired, &kernel.snapshot, &Scope::All, now);
        let mut asked = false;
        while let Some(question) = questions.next(&kernel.snapshot, now) {
            kernel.apply(&question).unwrap();
            questions.asked(question, now, Ok(()));
            asked = true;
        }
        let plan = diff(&desired, &kernel.snapshot);
        apply(kernel, &plan);
        for ((address, link), entry) in kernel.snapshot.neighbours.iter_mut() {
            if !entry.is_asked_for() {
                continue;
            }
            let machine = machines.iter().find(|(at, its, _)| (at, its) == (link, address));
            (entry.mac, entry.state) = match machine {
                Some((.., mac)) => (Some(*mac), NeighbourState::Reachable),
                None => (None, NeighbourState::Failed),
            };
        }
        if !asked && diff(&desired, &kernel.snapshot).is_empty() {
            return;
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever MAC a guest has, by its own doing or by its server's word, the machine that answers keeps its
    /// address.
    #[test]
    fn a_machine_that_answers_is_not_robbed(
        mut world in world(),
        machines in prop::collection::vec(((2u32..4).prop_map(LinkIndex), good_net(), mac(), any::<bool>()), 1..6),
        deeds in prop::collection::vec(deed(), 1..8),
        restarts in any::<u8>(),
    ) {
        world.config.policy.probe = Probe::Optimistic;
        let (mut kernel, mut memory, mut questions) = (world.kernel.clone(), Memory::default(), LanQuestions::default());
        let mut now = Instant::now();
        let known: BTreeSet<Machine> =
            machines.iter().map(|(link, address, mac, _)| (*link, address.addr(), *mac)).collect();
        let mut here: Vec<Machine> = known.into_iter().collect();
        here.dedup_by_key(|(link, address, _)| (*link, *address));
        // The host knows some of them already.
        for (link, address, mac) in here.iter().filter(|_| restarts % 2 == 0) {
            let known = Event::Neighbour {
                link: *link, address: *address, mac: *mac, state: NeighbourState::Reachable, ours: false,
            };
            known.happen(&mut world.kernel, &mut world.inventory);
        }
        ask_and_settle(&world, &mut kernel, &mut memory, &mut questions, &here, now);
        // Routes from before the daemon's start are asked about within ten minutes.
        now += Duration::from_secs(601);
        ask_and_settle(&world, &mut kernel, &mut memory, &mut questions, &here, now);
        let mut inventory = world.inventory.clone();
        for (at, deed) in deeds.into_iter().enumerate() {
            deed.iter().for_each(|deed| deed.happen(&mut kernel, &mut inventory));
            if restarts >> at & 1 == 1 {
                (memory, questions) = (Memory::default(), LanQuestions::default());
            }
            now += Duration::from_secs(4);
            ask_and_settle(&world, &mut kernel, &mut memory, &mut questions, &here, now);
            // A route that the configuration leads through a shim is no guest's doing.
            let configured = configured_ranges(&world.config);
            let robbed: Vec<_> = here
                .iter()
                .filter(|(_, address, _)| !configured.contains(&IpNet::from(*address)))
                .filter(|(link, address, _)| routed(&kernel.snapshot).contains(&(*link, *address)))
                .collect();
            prop_assert!(robbed.is_empty(), "{deed:?} robs {robbed:?}");
        }
    }

    /// The entries of questions are ours to remove. None stays unless something here needs it.
    #[test]
    fn questions_leave_nothing_behind(
        world in world(),
        machines in prop::collection::vec(((2u32..4).prop_map(LinkIndex), good_net(), mac()), 0..4),
        deeds in prop::collection::vec(deed(), 0..6),
    ) {
        let (mut kernel, mut memory, mut questions) = (world.kernel.clone(), Memory::default(), LanQuestions::default());
        let mut now = Instant::now();
        let machines: Vec<Machine> =
            machines.iter().map(|(link, address, mac)| (*link, address.addr(), *mac)).collect();
        let mut inventory = world.inventory.clone();
        for deed in deeds {
            deed.iter().for_each(|deed| deed.happen(&mut kernel, &mut inventory));
            ask_and_settle(&world, &mut kernel, &mut memory, &mut questions, &machines, now);
            now += Duration::from_secs(6);
        }
        for _ in 0..4 {
            ask_and_settle(&world, &mut kernel, &mut memory, &mut questions, &machines, now);
            now += Duration::from_secs(6);
        }
        let claimed: BTreeSet<IpAddr> = (kernel.snapshot.children.values())
            .flat_map(|child| child.addresses.keys().map(|address| address.addr()))
            .collect();
        let settled = world.inventory.settled();
        for ((address, link), entry) in kernel.snapshot.neighbours.iter().filter(|(_, entry)| entry.ours) {
            let on_shim = kernel.snapshot.links[link].shim_parent().is_some();
            let groups: BTreeSet<IpAddr> = claimed.iter().filter_map(|address| solicited_node(*address)).collect();
            prop_assert!(
                on_shim || !settled || claimed.contains(address) || groups.contains(address),
                "{address} on {link} is left: {entry:?}"
            );
        }
    }
}
