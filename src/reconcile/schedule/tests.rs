//! Ops that wait, ops that are retried, and fights.

use super::history::BACK_OFF;
use super::*;
use crate::model::{Code, LinkIndex, LinkRef};

impl Schedule {
    fn is_due(&mut self, round: &mut Round, step: &Step, now: Instant) -> bool {
        self.readiness(round, step, now) == Readiness::Due
    }
}

fn shim() -> LinkRef {
    LinkRef { name: "mvs-eth0".into(), index: Some(LinkIndex(7)) }
}

fn add() -> Step {
    let destination = "192.168.100.253/32".parse().unwrap();
    let op = Op::SetRoute { shim: shim(), destination, source: None, table: 254, replace: false };
    Step { op, when: When::Now, why: String::new() }
}

fn delete() -> Step {
    let destination = "192.168.100.253/32".parse().unwrap();
    let op = Op::DeleteRoute { link: shim(), destination, table: 254, metric: 0 };
    Step { op, when: When::Now, why: String::new() }
}

/// Runs a plan of one step, if it is due.
fn run(schedule: &mut Schedule, step: &Step, now: Instant) -> bool {
    let mut round = schedule.begin(&vec![step.clone()], &Scope::All, now);
    let due = schedule.is_due(&mut round, step, now);
    if due {
        schedule.ran(&mut round, &step.op, now, Ok(()));
    }
    due
}

#[test]
fn a_guest_that_restarts_again_and_again_is_no_fight() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    for _ in 0..30 {
        for step in [add(), delete()] {
            now += Duration::from_millis(100);
            assert!(run(&mut schedule, &step, now));
            assert_eq!(schedule.fights(now).count(), 0);
        }
    }
}

#[test]
fn objects_that_go_with_a_flapping_link_are_no_fight() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    let up = Step { op: Op::SetUp { shim: shim() }, when: When::Now, why: String::new() };
    for _ in 0..20 {
        now += Duration::from_millis(100);
        let plan = vec![up.clone(), add()];
        let mut round = schedule.begin(&plan, &Scope::All, now);
        for step in &plan {
            if schedule.is_due(&mut round, step, now) {
                schedule.ran(&mut round, &step.op, now, Ok(()));
            }
        }
    }
    assert_eq!(schedule.fights(now).map(|(op, _)| op).collect::<Vec<_>>(), [&up.op]);
}

#[test]
fn a_link_that_is_gone_is_reported_once_and_holds_back_what_is_on_it() {
    let now = Instant::now();
    let proxy = |shim: LinkRef, address: &str| {
        let op = Op::AddProxy { shim, address: address.parse().unwrap() };
        Step { op, ..add() }
    };
    let other = LinkRef { name: "mvs-eth1".into(), index: Some(LinkIndex(8)) };
    let plan = vec![proxy(shim(), "fd77::11"), proxy(shim(), "fd77::12"), proxy(other, "fd77::11"), add()];
    let tried = |code| {
        let (mut schedule, mut ops) = (Schedule::default(), Vec::new());
        schedule.walk(
            &plan,
            &Scope::All,
            || now,
            |step| {
                ops.push(step.op.clone());
                Err(Error { code, message: "no".to_owned(), hint: None })
            },
        );
        (schedule, ops)
    };
    assert_eq!(tried(Code::KernelRefused).1.len(), 4);
    let (mut schedule, ops) = tried(Code::LinkGone);
    assert_eq!(ops, [plan[0].op.clone(), plan[2].op.clone()]);
    // A look at one address does not show that the link is back.
    let (route, scope) = (vec![add()], Scope::Addresses(["192.168.100.253".parse().unwrap()].into()));
    let walked = schedule.walk(&route, &scope, || now, |_| Ok(Progress::Done));
    assert!(matches!(walked[0].outcome, Outcome::Held));
}

#[test]
fn an_address_is_looked_at_again_if_the_effect_of_an_op_is_not_seen() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let address: IpAddr = "192.168.100.253".parse().unwrap();
    assert!(run(&mut schedule, &delete(), now));
    assert_eq!(schedule.wake(), Some(now + UNSEEN));
    assert!(schedule.due(now + UNSEEN).addresses.contains(&address));
    // The next plan for it, after the event, ends the wait.
    schedule.begin(&Plan::new(), &Scope::Addresses([address].into()), now);
    assert_eq!(schedule.wake(), None);
}

#[test]
fn a_shim_that_waits_for_a_route_to_go_is_looked_at_again_when_it_goes() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let later = |step: Step| Step { when: When::AfterBreath, ..step };
    let shim = Op::DeleteShim { link: shim() };
    let plan = vec![later(delete()), later(Step { op: shim, ..delete() })];
    let mut round = schedule.begin(&plan, &Scope::All, now);
    assert!(plan.iter().all(|step| !schedule.is_due(&mut round, step, now)));
    assert!(schedule.due(now + BREATH).all, "nobody looks at the shim");
}

#[test]
fn a_range_that_does_not_go_holds_back_no_guest() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let destination = "192.168.101.0/24".parse().unwrap();
    let range = Op::DeleteRoute { link: shim(), destination, table: 254, metric: 0 };
    let error = Error { code: Code::KernelRefused, message: String::new(), hint: None };
    let mut round = schedule.begin(&Plan::new(), &Scope::All, now);
    schedule.ran(&mut round, &range, now, Err(error));
    let scope = Scope::Addresses(BTreeSet::from(["192.168.100.253".parse().unwrap()]));
    let mut round = schedule.begin(&vec![add()], &scope, now);
    assert!(schedule.is_due(&mut round, &add(), now));
}

#[test]
fn an_alarm_is_silenced_by_the_next_plan_of_all() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    assert!(!run(&mut schedule, &Step { when: When::AfterBreath, ..delete() }, now));
    assert!(schedule.wake().is_some());
    schedule.tracks.clear();
    schedule.begin(&Plan::new(), &Scope::All, now);
    assert_eq!(schedule.wake(), None);
}

#[test]
fn an_op_that_was_undone_often_and_then_fails_once_is_soon_retried() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    for _ in 0..FIGHT_ROUNDS {
        now += BREATH;
        assert!(run(&mut schedule, &add(), now));
    }
    let error = Error { code: Code::KernelRefused, message: String::new(), hint: None };
    let mut round = schedule.begin(&vec![add()], &Scope::All, now);
    schedule.ran(&mut round, &add().op, now, Err(error));
    assert_eq!(schedule.wake(), Some(now + BACK_OFF));
}

#[test]
fn a_failed_op_is_tried_at_once_when_the_host_has_changed_but_not_for_ever() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let error = Error { code: Code::KernelRefused, message: String::new(), hint: None };
    let fail = |schedule: &mut Schedule| {
        let mut round = schedule.begin(&vec![add()], &Scope::All, now);
        let due = schedule.is_due(&mut round, &add(), now);
        if due {
            schedule.ran(&mut round, &add().op, now, Err(error.clone()));
        }
        due
    };
    assert!(fail(&mut schedule));
    assert!(!fail(&mut schedule), "it does not wait");
    let tries = std::iter::repeat_with(|| {
        schedule.host_changed();
        fail(&mut schedule)
    });
    assert_eq!(tries.take(20).filter(|tried| *tried).count(), FIGHT_ROUNDS as usize);
}

#[test]
fn an_op_that_others_keep_undoing_is_done_once_a_second() {
    let (mut schedule, mut now) = (Schedule::default(), Instant::now());
    let mut ran = 0;
    for _ in 0..1000 {
        now += Duration::from_millis(10);
        ran += u32::from(run(&mut schedule, &add(), now));
    }
    assert!((13..=16).contains(&ran), "{ran} times in 10 s");
    assert_eq!(schedule.fights(now).count(), 1);
}
