//! Each number is counted where it happens, and once.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::model::op_kind::{OpAction, OpObject};
use crate::model::plan::When;
use crate::model::snapshot::{ChildKey, Neighbour, NeighbourState, Netns};
use crate::model::{Code, LinkIndex, LinkRef, Mac, NetnsId, OpKind, Step};
use crate::reconcile::hold::Holder;

const PARENT: LinkIndex = LinkIndex(2);
const GUEST: NetnsId = NetnsId(3);
const OTHER: NetnsId = NetnsId(4);
const MAC: Mac = Mac([0, 0x16, 0x3e, 0, 0, 1]);

fn address() -> IpAddr {
    "10.0.0.9".parse().unwrap()
}

fn route() -> Step {
    let shim = LinkRef::standing("mvs-eth0", LinkIndex(7));
    let op = Op::SetRoute {
        shim,
        destination: "10.0.0.9/32".parse().unwrap(),
        source: Some("10.0.0.1".parse().unwrap()),
        table: 254,
        replace: false,
    };
    Step { op, when: When::Now, why: "a test".to_owned() }
}

/// The guest holds the address.
fn desired() -> Desired {
    let child = ChildKey { netns: Netns::Id(GUEST), index: LinkIndex(2) };
    let source = "10.0.0.1".parse().unwrap();
    let holder = Holder { child, parent: PARENT, mac: MAC, source, nic: None };
    let mut desired = Desired::default();
    desired.held.holders.insert(address(), holder);
    desired
}

fn changed(namespace: Option<NetnsId>) -> Changes {
    Changes { all: true, causes: namespace.into_iter().collect(), ..Changes::default() }
}

fn failed() -> Error {
    Error { code: Code::KernelRefused, message: "no".to_owned(), hint: None }
}

#[test]
fn operations_are_counted_by_kind_and_result_and_repairs_by_object() {
    let (mut counters, step) = (Counters::new(), route());
    let mut end = |result: Result<(), Error>| {
        let walked = [Walked { step: &step, outcome: Outcome::Ran { result, is_known: false } }];
        counters.walked(&walked, &Scope::All, &Desired::default());
    };
    end(Err(failed()));
    end(Ok(()));
    end(Ok(()));
    let kind = OpKind { object: OpObject::Route, action: OpAction::Add };
    let operations: Vec<_> = counters.tally().operations.iter().map(|(key, count)| (*key, *count)).collect();
    assert_eq!(operations, [((kind, false), 1), ((kind, true), 2)]);
    assert_eq!(counters.tally().repairs.get(&OpObject::Route), Some(&1));
}

#[test]
fn a_step_that_waits_or_has_only_begun_is_not_counted_yet() {
    let (mut counters, step) = (Counters::new(), route());
    for outcome in [Outcome::Waits, Outcome::Held, Outcome::Begun] {
        counters.walked(&[Walked { step: &step, outcome }], &Scope::All, &Desired::default());
    }
    assert!(counters.tally().operations.is_empty(), "{:?}", counters.tally().operations);
}

#[test]
fn a_reaction_is_timed_from_the_reading_of_the_guests_change() {
    let (mut counters, snapshot) = (Counters::new(), Snapshot::default());
    let began = Instant::now() - Duration::from_millis(3);
    counters.read(began, &changed(Some(GUEST)), &snapshot);
    counters.did(&route().op, &desired());
    let reactions = &counters.tally().reactions;
    assert_eq!(reactions.count(), 1);
    assert!(reactions.sum() >= Duration::from_millis(3), "{reactions:?}");
}

#[test]
fn a_route_for_another_reason_is_no_reaction() {
    let snapshot = Snapshot::default();
    for cause in [None, Some(OTHER)] {
        let mut counters = Counters::new();
        counters.read(Instant::now(), &changed(Some(GUEST)), &snapshot);
        counters.read(Instant::now(), &changed(cause), &snapshot);
        counters.did(&route().op, &desired());
        assert_eq!(counters.tally().reactions.count(), 0, "{cause:?}");
    }
}

/// A route that waits for an answer from the LAN is made three seconds later, after other events.
#[test]
fn a_route_that_had_to_wait_is_timed_from_the_same_beginning() {
    let (mut counters, step, desired, snapshot) = (Counters::new(), route(), desired(), Snapshot::default());
    let began = Instant::now() - Duration::from_secs(3);
    counters.read(began, &changed(Some(GUEST)), &snapshot);
    counters.walked(&[Walked { step: &step, outcome: Outcome::Waits }], &Scope::All, &desired);
    counters.read(Instant::now(), &changed(Some(OTHER)), &snapshot);
    let elsewhere = Scope::Addresses(["10.0.0.77".parse().unwrap()].into());
    counters.walked(&[], &elsewhere, &desired);
    counters.did(&step.op, &desired);
    assert!(counters.tally().reactions.sum() >= Duration::from_secs(3), "{:?}", counters.tally().reactions);

    // It is counted once.
    counters.did(&step.op, &desired);
    assert_eq!(counters.tally().reactions.count(), 1);
}

#[test]
fn a_route_that_is_no_longer_wanted_is_no_reaction_when_it_comes_back() {
    let (mut counters, step, desired, snapshot) = (Counters::new(), route(), desired(), Snapshot::default());
    counters.read(Instant::now(), &changed(Some(GUEST)), &snapshot);
    counters.walked(&[Walked { step: &step, outcome: Outcome::Held }], &Scope::All, &desired);
    counters.read(Instant::now(), &changed(None), &snapshot);
    counters.walked(&[], &Scope::All, &desired);
    counters.did(&step.op, &desired);
    assert_eq!(counters.tally().reactions.count(), 0);
}

#[test]
fn a_question_is_counted_when_its_answer_is_seen() {
    let question = Op::Ask { link: LinkRef::standing("eth0", PARENT), address: address(), disputed: false };
    for (mac, state, ours, answer) in [
        (None, NeighbourState::Failed, true, Some(LanAnswer::Free)),
        (Some(MAC), NeighbourState::Reachable, true, Some(LanAnswer::Taken)),
        (None, NeighbourState::Unresolved, true, None),
        (None, NeighbourState::Failed, false, None),
        (Some(MAC), NeighbourState::Stale, false, None),
    ] {
        let (mut counters, mut snapshot) = (Counters::new(), Snapshot::default());
        let now = Instant::now();
        counters.asked(&question, now, &Ok(()));
        snapshot.neighbours.insert((address(), PARENT), Neighbour { mac, state, ours });
        counters.answered(&snapshot, now);
        counters.answered(&snapshot, now);
        let counted = |counters: &Counters| counters.tally().probes.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(counted(&counters), answer.map(|answer| (answer, 1)).into_iter().collect::<Vec<_>>());
        counters.answered(&snapshot, now + Duration::from_secs(11));
        assert_eq!(counted(&counters), [(answer.unwrap_or(LanAnswer::Unknown), 1)]);
    }
}

#[test]
fn a_question_that_could_not_be_sent_has_failed() {
    let question = Op::Ask { link: LinkRef::standing("eth0", PARENT), address: address(), disputed: false };
    let mut counters = Counters::new();
    counters.asked(&question, Instant::now(), &Err(failed()));
    assert_eq!(counters.tally().probes.get(&LanAnswer::Failed), Some(&1));
    assert_eq!(counters.probes.answered(&Snapshot::default(), Instant::now()), []);
}

#[test]
fn a_conflict_is_counted_when_it_begins() {
    let conflict = |last, code| Conflict {
        child: ChildKey { netns: Netns::Id(GUEST), index: LinkIndex(2) },
        address: IpAddr::from([10, 0, 0, last]),
        code,
    };
    let mut counters = Counters::new();
    let first = conflict(1, Code::NextHop);
    counters.conflicts([first.clone()].into());
    counters.conflicts([first.clone(), conflict(2, Code::Held)].into());
    counters.conflicts(BTreeSet::new());
    counters.conflicts([first].into());
    let counted: Vec<_> = counters.tally().conflicts.clone().into_iter().collect();
    assert_eq!(counted, [(Code::NextHop, 2), (Code::Held, 1)]);
}

#[test]
fn resyncs_are_counted_by_their_trigger() {
    let mut counters = Counters::new();
    for trigger in [ResyncTrigger::Timer, ResyncTrigger::Reload, ResyncTrigger::Timer] {
        counters.resync(trigger);
    }
    let counted: Vec<_> = counters.tally().resyncs.clone().into_iter().collect();
    assert_eq!(counted, [(ResyncTrigger::Timer, 2), (ResyncTrigger::Reload, 1)]);
}
