//! A kernel that begins to change a filter and reports the end later, while everything else goes on.
//!
//! * It ends when nothing is left to do.
//! * No shim goes up before it has its filter, unless the filter is impossible.
//! * No existing shim loses its filter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use macvlan_shim::model::{Code, LinkIndex, Op, Snapshot};
use macvlan_shim::reconcile::schedule::Error;
use macvlan_shim::reconcile::{desire, diff};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::worlds::{event, world};
use super::{Run, config, shown};

/// The shims that are up, each with whether it has a filter.
fn filtered(snapshot: &Snapshot) -> BTreeMap<LinkIndex, bool> {
    let up = snapshot.shims().filter(|(_, link)| link.up);
    up.map(|(_, link)| (link.index, snapshot.filter.shims.contains_key(&link.index))).collect()
}

/// The next change of a filter ends.
fn end(run: &mut Run, fails: bool, impossible: &mut BTreeSet<SmolStr>) {
    let Some(op) = run.late.as_mut().and_then(|late| late.pop_front()) else { return };
    let before = filtered(&run.kernel.snapshot);
    let result = if fails { Err("told to".to_owned()) } else { run.kernel.apply(&op) };
    if let Op::SetFilter { shim, .. } = &op {
        match &result {
            Ok(()) => impossible.remove(&shim.name),
            Err(_) => impossible.insert(shim.name.clone()),
        };
    }
    for (link, has) in filtered(&run.kernel.snapshot) {
        assert!(has || before.get(&link) != Some(&true), "{op} took the filter of link {link:?}");
    }
    let error = |message| Error { code: Code::KernelRefused, message, hint: None };
    assert!(run.schedule.ended(&op, run.now, result.map_err(error)).is_some(), "{op} was never begun");
    run.told = true;
}

/// Walks, and checks which shims go up.
fn settle(run: &mut Run, impossible: &BTreeSet<SmolStr>) {
    let before = filtered(&run.kernel.snapshot);
    run.settle(&|_| false);
    let snapshot = &run.kernel.snapshot;
    for (link, has) in filtered(snapshot) {
        let name = &snapshot.links[&link].name;
        let went_up = !before.contains_key(&link);
        assert!(!went_up || has || impossible.contains(name), "{name} is up without its filter");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn late_filters_keep_the_order_and_come_right(
        world in world(),
        events in prop::collection::vec((prop::option::of(event()), 0u64..400, 0usize..3, any::<bool>()), 0..10),
    ) {
        let mut run = Run::new(world);
        run.kernel.snapshot.filter.usable = true;
        run.late = Some(Default::default());
        let mut impossible = BTreeSet::new();
        settle(&mut run, &impossible);
        for (event, millis, ends, fails) in events {
            run.now += Duration::from_millis(millis);
            if let Some(event) = event {
                event.happen(&mut run.kernel, &mut run.world.inventory);
                run.told = true;
            }
            for _ in 0..ends {
                end(&mut run, fails, &mut impossible);
            }
            settle(&mut run, &impossible);
        }
        for _ in 0..20 {
            run.now += Duration::from_secs(5);
            while run.late.as_ref().is_some_and(|late| !late.is_empty()) {
                end(&mut run, false, &mut impossible);
                settle(&mut run, &impossible);
            }
            settle(&mut run, &impossible);
        }
        let (left, _) = desire(&run.world.inputs(&run.kernel.snapshot, run.now), &run.memory);
        let left = diff(&left, &run.kernel.snapshot);
        prop_assert!(left.is_empty(), "{}", shown(&left));
        prop_assert!(!run.schedule.is_under_way());
    }
}
