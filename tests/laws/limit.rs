//! No NIC has more routes than its limit, whatever its guest does to its addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::config::Config;
use macvlan_shim::model::plan::{Progress, Scope};
use macvlan_shim::model::snapshot::{ChildKey, Netns, Snapshot};
use macvlan_shim::model::{Code, LinkIndex, NetnsId};
use macvlan_shim::reconcile::schedule::Error;
use macvlan_shim::reconcile::{Desired, Memory, Schedule, decide};
use proptest::prelude::*;

use super::tenure::world;
use super::worlds::Event;
use super::{config, shown};

const LIMIT: usize = 4;

fn address(last: u8) -> IpNet {
    let host = if last < 40 { format!("10.0.0.{}/24", last + 10) } else { format!("fd00::{last}/64") };
    host.parse().unwrap()
}

fn routed(snapshot: &Snapshot) -> Vec<IpAddr> {
    let ours = snapshot.routes.iter().filter(|(_, route)| route.ours);
    ours.map(|(key, _)| key.destination.addr()).collect()
}

proptest! {
    #![proptest_config(config())]

    /// The daemon looks once at each step. In each the guest has the addresses of that step, and never more
    /// than the limit at once.
    #[test]
    fn routes_that_wait_for_their_deletion_count(
        steps in prop::collection::vec(
            (prop::collection::btree_set(0u8..60, 0..6), 0u64..120, any::<bool>(), any::<bool>()), 1..24
        )
    ) {
        let mut policy = Config::default();
        policy.policy.max_addresses = LIMIT;
        let mut world = world(policy, 1);
        let (mut desired, mut memory) = (Desired::default(), Memory::default());
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        let mut seen = Snapshot::default();
        for (addresses, pause, restarts, told) in steps {
            let key = ChildKey { netns: Netns::Id(NetnsId(0)), index: LinkIndex(10) };
            if let Some(child) = world.kernel.snapshot.children.get_mut(&key) {
                child.addresses.clear();
            }
            if restarts {
                // It takes another MAC, and its own again. As after a restart everything is decided again.
                seen = Snapshot::default();
            }
            for last in &addresses {
                Event::Gets { key, address: address(*last) }.happen(&mut world.kernel, &mut world.inventory);
            }
            now += Duration::from_millis(pause);
            for _ in 0..4 {
                let mut changes = world.kernel.changes_since(&seen);
                changes.merge(schedule.due(now));
                changes.merge(memory.tenure.due(now));
                changes.all |= told;
                seen = world.kernel.snapshot.clone();
                let (plan, scope) = decide(&mut desired, &mut memory, &world.inputs(&seen, now), &changes);
                prop_assert!(told || restarts || changes.all || scope != Scope::All);
                let kernel = &mut world.kernel;
                let mut most = 0;
                let walked = schedule.walk(&plan, &scope, || now, |step| {
                    let result = kernel.apply(&step.op);
                    most = most.max(routed(&kernel.snapshot).len());
                    result.map(|()| Progress::Done).map_err(|message| Error { code: Code::KernelRefused, message, hint: None })
                });
                let failed = walked.iter().find(|one| one.result().is_some_and(Result::is_err));
                prop_assert!(failed.is_none(), "{failed:?}");
                prop_assert!(most <= LIMIT, "{most} routes:\n{}", shown(&plan));
            }
            // The addresses that it has and may have are routed.
            let routed = routed(&world.kernel.snapshot);
            let its = addresses.iter().filter(|last| routed.contains(&address(**last).addr())).count();
            prop_assert_eq!(its, addresses.len().min(LIMIT), "{:?}", routed);
        }
    }
}
