//! Laws for every configuration, inventory and kernel state, shown by random ones against the in-memory
//! kernel. The worlds are small and crowded, so that everything collides with everything.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cost;
mod distrust;
mod hostile;
#[path = "../in_memory_kernel/mod.rs"]
mod in_memory_kernel;
mod late;
mod limit;
#[path = "../listed/mod.rs"]
mod listed;
mod oracle;
mod tenure;
mod worlds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use macvlan_shim::config::Config;
use macvlan_shim::model::inventory::{Inventory, Mode, Nics, ServerState};
use macvlan_shim::model::plan::{Progress, Scope, When};
use macvlan_shim::model::routing::{Hop, Way};
use macvlan_shim::model::snapshot::{
    Child, ChildKey, Filter, GuestAddress, NeighbourState, Netns, RouteKey, RouteKind, Snapshot,
};
use macvlan_shim::model::{Code, Family, LinkIndex, LinkRef, Mac, NetnsId, Op, Plan, Step};
use macvlan_shim::reconcile::admit::Verdict;
use macvlan_shim::reconcile::facts::Trust;
use macvlan_shim::reconcile::schedule::{BLINK, BREATH, Error, Outcome, Walked};
use macvlan_shim::reconcile::{Decision, Desired, LanQuestions, Memory, Schedule, decide, desire, diff};
use proptest::prelude::*;
use smol_str::SmolStr;

use in_memory_kernel::{InMemoryKernel, lose_hops};
use worlds::{Event, World, address_event, event, good_net, plain_host, world};

/// 256 cases each. PROPTEST_CASES asks for more.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() }
}

/// A time in which nothing happens.
fn pause() -> impl Strategy<Value = Duration> {
    let millis =
        prop_oneof![3 => 1u64..300, 2 => 300u64..3_000, 2 => 3_000u64..70_000, 1 => 70_000u64..700_000];
    millis.prop_map(Duration::from_millis)
}

/// Decides and plans like a process that has just started.
fn plan(world: &World, kernel: &InMemoryKernel) -> (Desired, Plan) {
    let (desired, _) = desire(&world.inputs(&kernel.snapshot, Instant::now()), &Memory::default());
    let plan = diff(&desired, &kernel.snapshot);
    (desired, plan)
}

/// The same, like a process that remembers.
fn plan_again(world: &World, kernel: &InMemoryKernel, memory: &mut Memory) -> Plan {
    plan_at(world, kernel, memory, Instant::now())
}

fn plan_at(world: &World, kernel: &InMemoryKernel, memory: &mut Memory, now: Instant) -> Plan {
    let (desired, next) = desire(&world.inputs(&kernel.snapshot, now), memory);
    *memory = next;
    diff(&desired, &kernel.snapshot)
}

/// Runs a whole plan, breath or not. In a consistent world every op must succeed.
fn apply(kernel: &mut InMemoryKernel, plan: &Plan) {
    for step in plan {
        kernel
            .apply(&step.op)
            .unwrap_or_else(|error| panic!("{error}: {} ({})\n{}", step.op, step.why, shown(plan)));
    }
}

/// Plans and obeys until nothing should be left to do. That takes one round, unless a shim goes and takes the
/// host's own routes with it. Then an address may be admitted that was not before.
fn settle(world: &World, kernel: &mut InMemoryKernel, memory: &mut Memory, now: Instant) -> Plan {
    let first = plan_at(world, kernel, memory, now);
    let takes_a_way = first.iter().any(
        |step| matches!(&step.op, Op::DeleteShim { link } if kernel.snapshot.routing.leads_through(link.index.unwrap())),
    );
    apply(kernel, &first);
    if takes_a_way {
        let second = plan_at(world, kernel, memory, now);
        apply(kernel, &second);
    }
    first
}

fn shown(plan: &Plan) -> String {
    plan.iter().map(|step| format!("{:?} {} — {}\n", step.when, step.op, step.why)).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_a_plan_nothing_is_left_to_do(world in world()) {
        let (mut kernel, mut memory) = (world.kernel.clone(), Memory::default());
        let first = settle(&world, &mut kernel, &mut memory, Instant::now());
        let second = plan_again(&world, &kernel, &mut memory);
        prop_assert!(second.is_empty(), "first:\n{}second:\n{}", shown(&first), shown(&second));
    }

    #[test]
    fn nothing_unmarked_is_ever_touched(world in world()) {
        let mut kernel = world.kernel.clone();
        let (_, plan) = plan(&world, &kernel);
        let before = unmarked(&kernel.snapshot);
        for step in &plan {
            let _ = kernel.apply(&step.op);
            let after = unmarked_since(&world.kernel.snapshot, &kernel.snapshot);
            prop_assert!(before == after, "by {}\n{before:#?}\n{after:#?}", step.op);
        }
    }

    #[test]
    fn if_nothing_is_desired_only_our_objects_are_deleted(world in world()) {
        let mut kernel = world.kernel.clone();
        let before = unmarked(&kernel.snapshot);
        let nothing = Desired { settled: true, ..Desired::default() };
        let plan = diff(&nothing, &kernel.snapshot);
        apply(&mut kernel, &plan);
        prop_assert_eq!(before, unmarked_since(&world.kernel.snapshot, &kernel.snapshot));
        prop_assert_eq!(marked(&kernel.snapshot), Vec::<String>::new());
    }

    #[test]
    fn a_crash_at_any_point_is_safe_and_is_repaired(world in world(), cut in any::<prop::sample::Index>()) {
        let mut kernel = world.kernel.clone();
        let (_, whole) = plan(&world, &kernel);
        // A leftover that was unsafe before we came is not our fault.
        let unsafe_before = unsafe_hosts(&kernel.snapshot);
        for step in whole.iter().take(cut.index(whole.len() + 1)) {
            kernel.apply(&step.op).unwrap();
            let unsafe_now: Vec<_> = unsafe_hosts(&kernel.snapshot).difference(&unsafe_before).copied().collect();
            prop_assert!(unsafe_now.is_empty(), "after {}: {unsafe_now:?} in\n{}", step.op, shown(&whole));
            if let Op::SetUp { shim } = &step.op {
                let (desired, _) = desire(&world.inputs(&world.kernel.snapshot, Instant::now()), &Memory::default());
                let wanted = desired.shims.values().find(|one| one.link == *shim).unwrap();
                let link = kernel.snapshot.link_named(&shim.name).unwrap();
                prop_assert!(!link.multicast && link.arp && !link.protodown);
                let filter = &kernel.snapshot.filter.shims[&link.index];
                prop_assert_eq!(&filter.macs, &wanted.macs);
                prop_assert!(filter.answers.is_superset(&wanted.answers) || link.up);
                for (setting, value) in &wanted.settings {
                    prop_assert_eq!(kernel.snapshot.settings[&link.index].get(setting), Some(value));
                }
            }
        }
        let mut memory = Memory::default();
        let rest = settle(&world, &mut kernel, &mut memory, Instant::now());
        let again = plan_again(&world, &kernel, &mut memory);
        prop_assert!(again.is_empty(), "whole:\n{}rest:\n{}again:\n{}", shown(&whole), shown(&rest), shown(&again));
    }

    #[test]
    fn incremental_equals_full(
        world in world(),
        settled in any::<bool>(),
        unasked in prop::option::of(good_net()),
        events in prop::collection::vec((address_event(), pause(), any::<bool>()), 1..12),
    ) {
        let mut kernel = world.kernel.clone();
        if settled {
            let (_, first) = plan(&world, &kernel);
            apply(&mut kernel, &first);
        }
        let (mut world, mut now) = (world, Instant::now());
        let unasked = unasked.map(|net| (net.addr(), "no buffer space".to_owned())).into_iter().collect();
        let memory = Memory { trust: Trust { unasked, ..Trust::default() }, ..Memory::default() };
        let (mut desired, mut memory) = desire(&world.inputs(&kernel.snapshot, now), &memory);
        let mut before = diff(&desired, &kernel.snapshot);
        for (event, pause, obeyed) in &events {
            let old = kernel.snapshot.clone();
            // Sometimes the plan has been carried out by then.
            if *obeyed {
                before.iter().for_each(|step| drop(kernel.apply(&step.op)));
            }
            now += *pause;
            event.happen(&mut kernel, &mut world.inventory);
            let mut changes = kernel.changes_since(&old);
            changes.merge(memory.tenure.due(now));
            let inputs = world.inputs(&kernel.snapshot, now);
            let (full, remembered) = desire(&inputs, &memory);
            prop_assert!(remembered.tenure.due(now).is_empty(), "it is due for ever");
            let whole = diff(&full, &kernel.snapshot);
            let (part, scope) = decide(&mut desired, &mut memory, &inputs, &changes);
            prop_assert!(memory.tenure.due(now).is_empty(), "it is due for ever");
            prop_assert_eq!(&desired, &full, "{:?}", changes);
            let Scope::Addresses(addresses) = scope else {
                before = whole;
                continue;
            };
            let about = |step: &&Step| step.op.address().is_some_and(|address| addresses.contains(&address));
            prop_assert_eq!(sorted(part.iter()), sorted(whole.iter().filter(about)), "{:?}", changes);
            // Everything else is planned as before.
            let others = |plan: &Plan| sorted(plan.iter().filter(|step| !about(step)));
            if !obeyed {
                prop_assert_eq!(others(&before), others(&whole), "{:?}", changes);
            }
            // The memory of the incremental way serves as well.
            before = whole;
        }
    }

    #[test]
    fn the_order_of_guests_is_irrelevant(world in world(), seed in any::<u64>()) {
        let other = World { inventory: shuffled(&world.inventory, seed), ..world.clone() };
        prop_assert_eq!(plan(&world, &world.kernel), plan(&other, &world.kernel));
    }

    #[test]
    fn no_op_uses_a_link_before_it_is_made(world in world()) {
        let (_, plan) = plan(&world, &world.kernel);
        let mut there: BTreeMap<SmolStr, LinkIndex> =
            world.kernel.snapshot.links.values().map(|link| (link.name.clone(), link.index)).collect();
        for step in &plan {
            match &step.op {
                Op::CreateShim { shim, parent, .. } => {
                    prop_assert!(world.kernel.snapshot.links.contains_key(&parent.index.unwrap()));
                    prop_assert_eq!(shim.index, None);
                    prop_assert!(there.insert(shim.name.clone(), LinkIndex::NONE).is_none(), "{} made twice", shim);
                }
                Op::Rename { link, name } => {
                    prop_assert_eq!(there.remove(&link.name), link.index, "{}", step.op);
                    prop_assert!(there.insert(name.clone(), link.index.unwrap()).is_none(), "{}", step.op);
                }
                Op::DeleteShim { link } => {
                    there.remove(&link.name);
                }
                op if op.deletes() => {}
                op => {
                    let Some(link) = op.link() else { continue };
                    let index = link.index.unwrap_or(LinkIndex::NONE);
                    prop_assert_eq!(there.get(&link.name).copied(), Some(index), "{}", op);
                }
            }
        }
    }

    #[test]
    fn no_route_stands_that_admission_forbids(world in world()) {
        let (desired, plan) = plan(&world, &world.kernel);
        let mut kernel = world.kernel.clone();
        apply(&mut kernel, &plan);
        let snapshot = &kernel.snapshot;
        let ranges = configured_ranges(&world.config);
        let hosts = snapshot.routes.iter().filter(|(key, route)| route.ours && is_host(&key.destination));
        let mut routed: BTreeSet<(LinkIndex, IpAddr)> = BTreeSet::new();
        for (key, _) in hosts.filter(|(key, _)| !ranges.contains(&key.destination)) {
            let ip = key.destination.addr();
            let shim = &snapshot.links[&key.link];
            let parent = shim.lower.unwrap();
            let mac = snapshot.neighbours[&(ip, shim.index)].mac.unwrap();
            routed.insert((shim.index, ip));
            let allowed = world.config.policy.allow.iter().any(|range| range.contains(&ip));
            prop_assert!(!world.config.policy.deny.iter().any(|range| range.contains(&ip)), "{ip} denied");
            prop_assert!(!snapshot.addresses.keys().any(|key| key.address.addr() == ip), "{ip} is the host's");
            let is_shim = |link| snapshot.links.get(&link).is_some_and(|link| link.shim_parent().is_some());
            let mut gateways = snapshot.routing.gateways().filter(|(_, link)| !is_shim(*link));
            prop_assert!(allowed || !gateways.any(|(gateway, _)| gateway == ip), "{ip} is a next hop");
            let lifts = world.config.policy.allow.iter().filter(|range| range.contains(&ip)).map(IpNet::prefix_len);
            let lifts = lifts.max();
            match oracle::leads(snapshot, parent, ip) {
                Some(None) => {}
                Some(Some(length)) => prop_assert!(lifts >= Some(length), "{ip} is routed elsewhere"),
                None => prop_assert!(allowed, "{ip} is off-link"),
            }
            let on_lan = snapshot.neighbours.get(&(ip, parent));
            let other = on_lan.filter(|entry| entry.mac.is_some_and(|holder| holder != mac));
            prop_assert!(other.is_none(), "{ip} is on the LAN");
            // The kernel shows this very address on a child with that MAC there.
            let shows = snapshot.children.iter().any(|(key, child)| {
                let has = child.parent == parent && child.addresses.keys().any(|its| its.addr() == ip);
                has && reached_at(snapshot, key, child).contains(&mac)
            });
            prop_assert!(shows, "nobody has {ip}");
        }
        let addresses: BTreeSet<IpAddr> = routed.iter().map(|(_, ip)| *ip).collect();
        prop_assert_eq!(addresses.len(), routed.len(), "an address is routed twice");
        let mut admitted: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for decision in desired.decisions.values() {
            let Decision::Served { child, .. } = decision else { continue };
            let its = desired.held.verdicts(child).filter(|(_, verdict)| verdict.source().is_some());
            let its: Vec<IpAddr> = its.map(|(ip, _)| ip).collect();
            prop_assert!(its.len() <= world.config.policy.max_addresses);
            its.into_iter().for_each(|ip| *admitted.entry(ip).or_default() += 1);
        }
        prop_assert!(admitted.values().all(|nics| *nics == 1), "admitted twice: {admitted:?}");
    }

    #[test]
    fn every_admitted_address_is_routed(world in world()) {
        let mut kernel = world.kernel.clone();
        let (desired, plan) = plan(&world, &kernel);
        apply(&mut kernel, &plan);
        for decision in desired.decisions.values() {
            let Decision::Served { child, parent, mac } = decision else { continue };
            let Some(shim) = desired.shims.get(parent).filter(|shim| shim.obstacle.is_none()) else { continue };
            for (ip, verdict) in desired.held.verdicts(child) {
                let Some(source) = verdict.source() else { continue };
                let link = kernel.snapshot.link_named(&shim.link.name).unwrap();
                let table = shim.tables[Family::of(ip)];
                let mut routes = kernel.snapshot.routes.iter();
                prop_assert!(link.up);
                prop_assert!(routes.any(|(key, route)| key.link == link.index && key.destination == IpNet::from(ip)
                    && key.table == table && route.ours && route.source == Some(source)));
                // Its own child, or one beside it.
                let at = kernel.snapshot.neighbours[&(ip, link.index)].mac;
                prop_assert_eq!(at, Some(desired.held.holders[&ip].mac));
                let beside = at != Some(*mac);
                prop_assert!(!beside || desired.held.holders[&ip].child != *child);
                let rules = kernel.snapshot.rules.iter().filter(|rule| rule.family == Family::of(ip));
                prop_assert!(table == 254 || rules.clone().any(|rule| rule.ours));
            }
        }
    }

    #[test]
    fn a_silent_server_changes_no_route(world in world()) {
        // Settle, then start a new process that no server has answered.
        let mut kernel = world.kernel.clone();
        settle(&world, &mut kernel, &mut Memory::default(), Instant::now());
        let ranges = configured_ranges(&world.config);
        let mut silent = world.clone();
        for state in [ServerState::Failed, ServerState::Absent] {
            for server in silent.inventory.servers.values_mut().map(Arc::make_mut) {
                server.state = state;
                server.guests = None;
            }
            let (_, mut plan) = plan(&silent, &kernel);
            if state == ServerState::Absent {
                // The server may be gone for good, so objects that no guest's route needs are surplus.
                plan.retain(|step| match &step.op {
                    Op::DeleteRoute { destination, .. } => is_host(destination) && !ranges.contains(destination),
                    // The LAN's answers matter to no route, and neither does an entry without a route.
                    Op::DeleteNeighbour { link, address } => kernel.snapshot.routes.iter().any(|(key, route)| {
                        route.ours && Some(key.link) == link.index && key.destination == IpNet::from(*address)
                    }),
                    _ => false,
                });
            }
            prop_assert!(plan.is_empty(), "{}", shown(&plan));
        }
    }

    #[test]
    fn memory_only_helps(world in world(), events in prop::collection::vec(event(), 0..6)) {
        // One process that lives through everything ends with nothing to do.
        let mut kernel = world.kernel.clone();
        let mut memory = Memory::default();
        let mut world = world;
        let mut now = Instant::now();
        for event in &events {
            now += Duration::from_secs(20);
            let first = settle(&world, &mut kernel, &mut memory, now);
            let second = plan_at(&world, &kernel, &mut memory, now);
            prop_assert!(second.is_empty(), "first:\n{}second:\n{}", shown(&first), shown(&second));
            event.happen(&mut kernel, &mut world.inventory);
        }
    }

    #[test]
    fn the_schedule_is_patient_and_fair_and_comes_to_an_end(
        world in world(),
        events in prop::collection::vec((event(), 0u64..400), 0..6),
        failing in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut run = Run::new(world);
        run.settle(&|_| false);
        for (event, millis) in events {
            run.now += Duration::from_millis(millis);
            event.happen(&mut run.kernel, &mut run.world.inventory);
            run.told = true;
            let (_, plan) = plan(&run.world, &run.kernel);
            let fail: BTreeSet<Op> =
                failing.iter().filter(|_| !plan.is_empty()).map(|index| plan[index.index(plan.len())].op.clone()).collect();
            run.settle(&|op| fail.contains(op));
        }
        // Everything comes right once nothing fails any more.
        for _ in 0..20 {
            run.now += Duration::from_secs(5);
            run.settle(&|_| false);
        }
        let (left, _) = desire(&run.world.inputs(&run.kernel.snapshot, run.now), &run.memory);
        let left = diff(&left, &run.kernel.snapshot);
        prop_assert!(left.is_empty(), "{}", shown(&left));
        prop_assert_eq!(run.schedule.failures().count(), 0);
    }
}

/// A process in time.
struct Run {
    world: World,
    kernel: InMemoryKernel,
    memory: Memory,
    schedule: Schedule,
    now: Instant,
    /// Something other than the kernel and the clock asks for a decision.
    told: bool,
    /// The input of the last decision, and its outcome.
    seen: Snapshot,
    desired: Desired,
    /// Since when each delete was planned without a break.
    surplus: BTreeMap<Op, Instant>,
    /// The steps of the last whole plan that are about no single address and were not done.
    missing: Vec<Op>,
    /// The changes of filters that have begun and not ended; `None`: each ends at once.
    late: Option<VecDeque<Op>>,
}

impl Run {
    fn new(world: World) -> Run {
        Run {
            kernel: world.kernel.clone(),
            world,
            memory: Memory::default(),
            schedule: Schedule::default(),
            now: Instant::now(),
            told: true,
            seen: Snapshot::default(),
            desired: Desired::default(),
            surplus: BTreeMap::new(),
            missing: Vec::new(),
            late: None,
        }
    }

    /// Walks until nothing more is due, as the daemon does. After the first walk, which takes in the events,
    /// only changes are decided again.
    fn settle(&mut self, fails: &dyn Fn(&Op) -> bool) {
        let mut walks = String::new();
        loop {
            assert!(walks.matches("walk:").count() < 12, "it never ends:\n{walks}");
            let mut changes = self.kernel.changes_since(&self.seen);
            if changes.all {
                self.schedule.host_changed();
            }
            changes.merge(self.schedule.due(self.now));
            changes.merge(self.memory.tenure.due(self.now));
            changes.all |= std::mem::take(&mut self.told);
            if changes.is_empty() {
                return;
            }
            self.seen = self.kernel.snapshot.clone();
            let inputs = self.world.inputs(&self.seen, self.now);
            let (plan, scope) = decide(&mut self.desired, &mut self.memory, &inputs, &changes);
            walks += &format!("walk:\n{}", shown(&plan));
            if !self.walk(&plan, &scope, fails) {
                return;
            }
        }
    }

    fn walk(&mut self, plan: &Plan, scope: &Scope, fails: &dyn Fn(&Op) -> bool) -> bool {
        let patient = |op: &Op| plan.iter().any(|step| step.op == *op && step.when.waits());
        let inside = |op: &Op| match scope {
            Scope::All => true,
            Scope::Addresses(addresses) => op.address().is_some_and(|address| addresses.contains(&address)),
        };
        self.surplus.retain(|op, _| !inside(op) || patient(op));
        for step in plan.iter().filter(|step| step.when.waits()) {
            self.surplus.entry(step.op.clone()).or_insert(self.now);
        }
        let unsafe_before = unsafe_hosts(&self.kernel.snapshot);
        let Run { schedule, kernel, surplus, late, now, .. } = self;
        let now = *now;
        let walked = schedule.walk(
            plan,
            scope,
            || now,
            |step| {
                if let Some(since) = surplus.get(&step.op) {
                    let wait = if step.when == When::AfterBlink { BLINK } else { BREATH };
                    assert!(now >= *since + wait, "no {:?} for {}", step.when, step.op);
                }
                let is_filter = matches!(step.op, Op::SetFilter { .. } | Op::DeleteFilter { .. });
                if let Some(late) = late.as_mut().filter(|_| is_filter) {
                    late.push_back(step.op.clone());
                    return Ok(Progress::Begun);
                }
                if fails(&step.op) {
                    return Err(Error {
                        code: Code::KernelRefused,
                        message: "told to".to_owned(),
                        hint: None,
                    });
                }
                let result = kernel.apply(&step.op);
                assert!(
                    result.is_ok(),
                    "{result:?}: {} ran before the ops that it needs\n{}",
                    step.op,
                    shown(plan)
                );
                let unsafe_now = unsafe_hosts(&kernel.snapshot);
                let is_safe = unsafe_now.is_subset(&unsafe_before);
                assert!(is_safe, "{} is unsafe: {unsafe_now:?}\n{}", step.op, shown(plan));
                Ok(Progress::Done)
            },
        );
        let is_done =
            |one: &Walked<'_>| matches!(one.outcome, Outcome::Begun | Outcome::Ran { result: Ok(()), .. });
        let missing: Vec<&Op> = walked.iter().filter(|one| !is_done(one)).map(|one| &one.step.op).collect();
        assert!(missing.is_empty() || self.schedule.wake().is_some(), "nobody wakes us: {missing:#?}");
        // Everything that does not need the missing objects was done.
        for held in walked.iter().filter(|one| matches!(one.outcome, Outcome::Held)) {
            let op = &held.step.op;
            let mut others = missing.iter().copied().chain(&self.missing);
            let needs = others.any(|other| other != op && related(other, op));
            let mut changes = self.late.iter().flatten().chain(missing.iter().copied());
            let needs = needs || self.late.is_some() && changes.any(|change| awaited(change, op));
            assert!(needs, "{op} waits for nothing");
        }
        let ran = walked.iter().any(Walked::has_run);
        if *scope == Scope::All {
            self.missing = missing.into_iter().filter(|op| op.address().is_none()).cloned().collect();
        }
        ran
    }
}

/// Whether an op may have to wait for the end of a change of a filter.
fn awaited(change: &Op, op: &Op) -> bool {
    let is_filter = |op: &Op| matches!(op, Op::SetFilter { .. } | Op::DeleteFilter { .. });
    let is_last = |op: &Op| matches!(op, Op::DeleteFilter { last: true, .. });
    let same = change.object().0 == op.object().0 && (is_filter(op) || matches!(op, Op::SetUp { .. }));
    is_filter(change) && (same || is_filter(op) && (is_last(change) || is_last(op)))
}

/// Whether one op may have to wait for another. They must be about one shim or one address, or about a rule
/// and its routes.
fn related(a: &Op, b: &Op) -> bool {
    let shim = |op: &Op| op.link().map(|link| link.name.clone());
    let address = |op: &Op| match op {
        Op::SetNeighbour { address, .. }
        | Op::DeleteNeighbour { address, .. }
        | Op::ReleaseNeighbour { address, .. } => Some(*address),
        Op::AddAddress { address, .. } | Op::DeleteAddress { address, .. } => Some(address.addr()),
        Op::SetRoute { destination, .. } | Op::DeleteRoute { destination, .. } => Some(destination.addr()),
        _ => None,
    };
    let rule = matches!(a, Op::SetRoute { .. }) && matches!(b, Op::DeleteRule { .. });
    let source = matches!((a, b), (Op::AddAddress { address, .. }, Op::SetRoute { source, .. }) if Some(address.addr()) == *source);
    let name = matches!((a, b),
        (Op::Rename { link, .. } | Op::DeleteShim { link }, Op::Rename { name, .. }) if link.name == *name);
    let same_address = address(a).is_some() && address(a) == address(b);
    // On one shim, only the ops that make the shim hold back ops about different addresses.
    let makes = matches!(
        a,
        Op::Rename { .. }
            | Op::CreateShim { .. }
            | Op::SetUp { .. }
            | Op::Set { .. }
            | Op::SetFlags { .. }
            | Op::DeleteShim { .. }
            | Op::DeleteRoute { .. }
    );
    let same_shim = makes
        && shim(a) == shim(b)
        && (!matches!(a, Op::DeleteRoute { .. }) || matches!(b, Op::DeleteShim { .. }));
    // The last filter goes with the table, after all shims.
    let table = makes && matches!(b, Op::DeleteFilter { last: true, .. });
    rule || source || name || same_address || same_shim || table
}

/// As the real kernel does ("routes_in_one_place_are_followed" in tests/kernel). Else a gateway behind a shim
/// that has gone would look like one on the LAN.
#[test]
fn a_link_that_goes_takes_ways_of_several_hops_along() {
    let mut kernel = plain_host(true, 0);
    let hop = |link, gateway: &str| Hop { link: LinkIndex(link), gateway: Some(gateway.parse().unwrap()) };
    for (net, near, far) in [("9.0.0.0/8", "10.0.0.9", "10.0.1.9"), ("fd09::/64", "fd00::9", "fd01::9")] {
        let key =
            RouteKey { table: 254, destination: net.parse().unwrap(), metric: 1, link: LinkIndex::NONE };
        let way = Way { kind: RouteKind::Unicast, hops: vec![hop(2, near), hop(3, far)] };
        kernel.add_way(key, way).unwrap();
    }
    kernel.remove_link(LinkIndex(3));
    let left: Vec<_> = kernel.snapshot.routing.gateways().collect();
    assert_eq!(left, [("fd00::9".parse().unwrap(), LinkIndex(2))]);
}

#[test]
fn a_guest_that_flips_through_addresses_does_not_fill_our_memory() {
    let mut schedule = Schedule::default();
    let mut now = Instant::now();
    let shim = LinkRef { name: "mvs-eth0".into(), index: Some(LinkIndex(9)) };
    for round in 0..20_000u32 {
        now += Duration::from_micros(50);
        let address = IpAddr::from((0x0a00_0000 + round / 2).to_be_bytes());
        let op = Op::DeleteNeighbour { link: shim.clone(), address };
        let plan = vec![macvlan_shim::model::Step { op: op.clone(), when: When::Now, why: String::new() }];
        let scope = Scope::Addresses(BTreeSet::from([address]));
        schedule.walk(&plan, &scope, || now, |_| Ok(Progress::Done));
    }
    assert!(schedule.remembered() < 9_000, "{} ops remembered", schedule.remembered());
}

#[test]
fn a_guest_that_flips_through_addresses_does_not_fill_the_memory_of_holders() {
    let mut world = tenure::world(Config::default(), 1);
    let (mut desired, mut memory, mut now) = (Desired::default(), Memory::default(), Instant::now());
    let key = ChildKey { netns: Netns::Id(NetnsId(0)), index: LinkIndex(10) };
    let mut seen = Snapshot::default();
    for round in 0..4_000u32 {
        now += Duration::from_millis(20);
        let ip = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 1, u16::try_from(round).unwrap()]);
        if let Some(child) = world.kernel.snapshot.children.get_mut(&key) {
            child.addresses = BTreeMap::from([(IpNet::new(ip, 64).unwrap(), GuestAddress::Settled)]);
        }
        let mut changes = world.kernel.changes_since(&seen);
        changes.merge(memory.tenure.due(now));
        seen = world.kernel.snapshot.clone();
        decide(&mut desired, &mut memory, &world.inputs(&seen, now), &changes);
    }
    assert!(memory.tenure.remembered() < 1_100, "{} addresses remembered", memory.tenure.remembered());
}

fn shuffled(inventory: &Inventory, seed: u64) -> Inventory {
    let mut inventory = inventory.clone();
    for guests in inventory.servers.values_mut().filter_map(|server| Arc::make_mut(server).guests.as_mut()) {
        guests.sort_by_key(|guest| {
            guest.name.bytes().chain(guest.project.bytes()).fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
            })
        });
        for guest in guests {
            if let Nics::Told(nics) = &mut guest.nics
                && seed.is_multiple_of(2)
            {
                nics.reverse();
            }
        }
    }
    inventory
}

/// Host routes of ours to a shim that have no permanent neighbour entry of ours. The host would ask for the
/// guest on the wire with the shim's MAC.
fn unsafe_hosts(snapshot: &Snapshot) -> BTreeSet<(IpAddr, LinkIndex)> {
    let ours = snapshot.routes.iter().filter(|(key, route)| route.ours && is_host(&key.destination));
    let at = ours.map(|(key, _)| (key.destination.addr(), key.link));
    at.filter(|at| {
        let entry = snapshot.neighbours.get(at);
        !entry.is_some_and(|entry| {
            entry.ours && entry.mac.is_some() && entry.state == NeighbourState::Permanent
        })
    })
    .filter(|(address, _)| !worlds::CONFIGURED_HOST_RANGES.contains(&address.to_string().as_str()))
    .collect()
}

fn is_host(destination: &IpNet) -> bool {
    destination.prefix_len() == destination.max_prefix_len()
}

fn configured_ranges(config: &Config) -> BTreeSet<IpNet> {
    config.parents.values().flat_map(|parent| parent.routes.iter().copied()).collect()
}

/// The MACs at which the kernel hands a child the frames of the shim.
fn reached_at(snapshot: &Snapshot, key: &ChildKey, child: &Child) -> Vec<Mac> {
    let takes = |other: &&Child| other.parent == child.parent && other.mode == Mode::Bridge;
    let in_its_namespace =
        snapshot.children.iter().filter(|(other, _)| other.netns == key.netns).map(|(_, other)| other);
    match child.mode {
        Mode::Bridge => vec![child.mac],
        _ => in_its_namespace.filter(takes).map(|other| other.mac).collect(),
    }
}

/// Everything that does not bear our mark and is not on one of our shims.
fn unmarked(snapshot: &Snapshot) -> Snapshot {
    let shims: BTreeSet<LinkIndex> = snapshot.shims().map(|(_, link)| link.index).collect();
    let mut rest = snapshot.clone();
    rest.links.retain(|index, _| !shims.contains(index));
    rest.settings.clear();
    rest.filter = Filter::default();
    rest.addresses.retain(|key, address| !shims.contains(&key.link) && !address.ours);
    rest.routes.retain(|key, route| !shims.contains(&key.link) && !route.ours);
    shims.iter().for_each(|shim| lose_hops(&mut rest.routing, *shim));
    rest.rules.retain(|rule| !rule.ours);
    rest.neighbours.retain(|(_, link), entry| !shims.contains(link) && !entry.ours);
    rest.proxies.retain(|(link, _), ours| !shims.contains(link) && !*ours);
    rest
}

/// The same, without entries that were ours at first and are the kernel's now.
fn unmarked_since(first: &Snapshot, now: &Snapshot) -> Snapshot {
    let mut rest = unmarked(now);
    let was_ours = |key: &(IpAddr, LinkIndex)| first.neighbours.get(key).is_some_and(|entry| entry.ours);
    rest.neighbours.retain(|key, entry| !was_ours(key) || entry.state != NeighbourState::Stale);
    // Asking is not touching: the kernel soon forgets and relearns the entries that it is asked about.
    let is_asked_for =
        |key: &(IpAddr, LinkIndex)| now.neighbours.get(key).is_some_and(|entry| entry.is_asked_for());
    for (key, entry) in first.neighbours.iter().filter(|(key, entry)| !entry.ours && is_asked_for(key)) {
        rest.neighbours.insert(*key, *entry);
    }
    rest
}

/// Everything that bears our mark.
fn marked(snapshot: &Snapshot) -> Vec<String> {
    let links = snapshot.shims().map(|(_, link)| link.name.to_string());
    let addresses =
        snapshot.addresses.iter().filter(|(_, address)| address.ours).map(|(key, _)| format!("{key:?}"));
    let routes = snapshot.routes.iter().filter(|(_, route)| route.ours).map(|(key, _)| format!("{key:?}"));
    let rules = snapshot.rules.iter().filter(|rule| rule.ours).map(|rule| format!("{rule:?}"));
    let neighbours =
        snapshot.neighbours.iter().filter(|(_, entry)| entry.ours).map(|(key, _)| format!("{key:?}"));
    let proxies = snapshot.proxies.iter().filter(|(_, ours)| **ours).map(|(key, _)| format!("{key:?}"));
    let filters = snapshot.filter.shims.keys().map(|link| format!("filter of {link}"));
    links
        .chain(filters)
        .chain(addresses)
        .chain(routes)
        .chain(rules)
        .chain(neighbours)
        .chain(proxies)
        .collect()
}

/// The steps in some order, because the order of a part and of the whole differ where it does not matter.
fn sorted<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<String> {
    let mut steps: Vec<String> =
        steps.map(|step| format!("{:?} {:?} — {}", step.when, step.op, step.why)).collect();
    steps.sort();
    steps
}

/// The steps that are to be done after these events, each with its subject.
fn after(world: &World, events: &[Event]) -> (Plan, Scope) {
    let (mut kernel, now) = (world.kernel.clone(), Instant::now());
    let (first, memory) = desire(&world.inputs(&kernel.snapshot, now), &Memory::default());
    let plan = diff(&first, &kernel.snapshot);
    apply(&mut kernel, &plan);
    let (mut desired, mut memory) = desire(&world.inputs(&kernel.snapshot, now), &memory);
    let (old, mut world) = (kernel.snapshot.clone(), world.clone());
    events.iter().for_each(|event| event.happen(&mut kernel, &mut world.inventory));
    let changes = kernel.changes_since(&old);
    decide(&mut desired, &mut memory, &world.inputs(&kernel.snapshot, now), &changes)
}

/// A law over worlds in which nothing happens proves nothing.
#[test]
fn the_worlds_are_crowded() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..2000 {
        let world = proptest::strategy::ValueTree::current(&world().new_tree(&mut runner).unwrap());
        let (desired, plan) = plan(&world, &world.kernel);
        let mut see = |what: &'static str, really: bool| *seen.entry(what).or_default() += u32::from(really);
        see("a guest is routed", !desired.held.holders.is_empty());
        see("a guest is unclaimed", desired.held.holders.values().any(|holder| holder.nic.is_none()));
        see("an obstacle", desired.shims.values().any(|shim| shim.obstacle.is_some()));
        see("our own table", !desired.rules.is_empty());
        see("something waits", plan.iter().any(|step| step.when == When::AfterBreath));
        see(
            "a NIC that is known only by its guest's init",
            desired.decisions.iter().any(|(key, decision)| {
                let own = world.inventory.guests().find(|(guest, _)| *guest == key.guest);
                let own =
                    own.and_then(|(_, guest)| guest.nics.told().iter().find(|nic| nic.name == key.nic)?.mac);
                matches!(decision, Decision::Served { mac, .. } if own.is_some_and(|own| own != *mac))
            }),
        );
        see(
            "a NIC that no server lists",
            desired.decisions.iter().any(|(key, decision)| {
                let guest = world.inventory.guests().find(|(guest, _)| *guest == key.guest);
                let is_found = guest.is_some_and(|(_, guest)| guest.nics == Nics::AllInItsNamespace);
                is_found && decision.parent().is_some()
            }),
        );
        see("a guest in doubt", !desired.doubts.is_empty());
        see(
            "a child beside a NIC",
            desired.held.holders.values().any(|holder| {
                holder.nic.is_some() && desired.held.claimants.nic_child(holder.child) != holder.child
            }),
        );
        see(
            "a child that is reached at the NIC's MAC",
            desired.held.holders.values().any(|holder| {
                holder.nic.is_some() && world.kernel.snapshot.children[&holder.child].mac != holder.mac
            }),
        );
        see(
            "an unclaimed address that is reached at another's MAC",
            desired.held.holders.values().any(|holder| {
                holder.nic.is_none() && world.kernel.snapshot.children[&holder.child].mac != holder.mac
            }),
        );
        let (mut questions, now) = (LanQuestions::default(), Instant::now());
        questions.look(&world.config, &desired, &world.kernel.snapshot, &Scope::All, now);
        let question = questions.next(&world.kernel.snapshot, now);
        see("a question about a dispute", matches!(question, Some(Op::Ask { disputed: true, .. })));
        see(
            "a replaced route",
            plan.iter().any(|step| matches!(step.op, Op::SetRoute { replace: true, .. })),
        );
        for (_, verdict) in
            desired.held.claimants.served.keys().flat_map(|child| desired.held.verdicts(child))
        {
            if let Verdict::Refused(refusal) = &*verdict {
                see(refusal.code.as_str(), true);
            }
        }
        let events = prop::collection::vec(address_event(), 1..5).new_tree(&mut runner).unwrap();
        let (plan, scope) = after(&world, &proptest::strategy::ValueTree::current(&events));
        see("an amendment", scope != Scope::All && !plan.is_empty());
        let waits = |step: &Step| step.when == When::AfterBlink && matches!(step.op, Op::SetNeighbour { .. });
        see("a hand-over", plan.iter().any(waits));
        let way = worlds::way_event().new_tree(&mut runner).unwrap();
        let (_, scope) = after(&world, &[proptest::strategy::ValueTree::current(&way)]);
        see("an amendment by a route of the host's own", scope != Scope::All);
    }
    for (what, often) in &seen {
        assert!(*often > 0, "{what}: never");
    }
}
