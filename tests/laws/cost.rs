//! The cost of a decision. Ignored, because a time is no law: `cargo test --test laws -- --ignored
//! --nocapture cost`.

use std::time::{Duration, Instant};

use macvlan_shim::config::Config;
use macvlan_shim::model::inventory::Mode;
use macvlan_shim::model::snapshot::{Child, ChildKey, GuestAddress, Netns};
use macvlan_shim::model::{LinkIndex, Mac, NetnsId, Op};
use macvlan_shim::reconcile::{Memory, desire, diff};

use super::worlds::{World, cost_host};
use crate::listed;

/// A host with this many guests, each with an address of both families.
fn crowd(guests: u16) -> World {
    let mut kernel = cost_host();
    let mut list = Vec::new();
    for number in 1..=guests {
        let [high, low] = number.to_be_bytes();
        let mac = Mac([0, 0x16, 0x3e, 0, high, low]);
        let addresses = [format!("10.0.{}.{low}/16", high + 1), format!("fd00::1:{number:x}/64")];
        let addresses = addresses.map(|text| (text.parse().unwrap(), GuestAddress::Settled));
        let child = Child {
            parent: LinkIndex(2),
            mac,
            mode: Mode::Bridge,
            name: "eth0".into(),
            tap: false,
            up: true,
            master: None,
            sources: Default::default(),
            addresses: addresses.into_iter().collect(),
        };
        kernel
            .snapshot
            .children
            .insert(ChildKey { netns: Netns::Id(NetnsId(number.into())), index: LinkIndex(10) }, child);
        list.push(listed::container(&format!("g{number:04}"), vec![listed::nic("eth0", mac)]));
    }
    World { config: Config::default(), inventory: listed::by_lxd(list), kernel }
}

/// The quickest of several runs.
fn quickest(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..20).map(time).min().unwrap()
}

#[test]
#[ignore = "prints times"]
fn a_full_decision_of_a_thousand_guests() {
    let mut world = crowd(1000);
    let (desired, memory) = desire(&world.inputs(&world.kernel.snapshot, Instant::now()), &Memory::default());
    let first = diff(&desired, &world.kernel.snapshot);
    for step in &first {
        world.kernel.apply(&step.op).unwrap();
    }
    let routes = first.iter().filter(|step| matches!(step.op, Op::SetRoute { .. })).count();
    let full = quickest(|| {
        let (desired, _) = desire(&world.inputs(&world.kernel.snapshot, Instant::now()), &memory);
        assert!(diff(&desired, &world.kernel.snapshot).is_empty());
    });
    println!("{routes} routes: a full decision and its plan take {full:?}");
}
