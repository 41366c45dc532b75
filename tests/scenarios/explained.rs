//! Explanations of a world, and the law that they agree with its status.

use std::collections::BTreeMap;

use macvlan_shim::commands::explain::transcript;
use macvlan_shim::model::explanation::{Explanation, Explanations, Sought, StepState};
use macvlan_shim::model::status::{AddressState, NicState, NicStatus, Problem};
use macvlan_shim::model::{Code, GuestKey, Timestamp};
use macvlan_shim::report::{Material, Report, explain};

use crate::world::World;

/// The explanations that a story asks for, as a terminal of 80 columns shows them.
pub(crate) fn transcripts(world: &World) -> String {
    let shown = world.sought.iter().map(|(subject, in_full)| {
        let all = if *in_full { " --all" } else { "" };
        let explained = with_material(world, |material| explain(material, &Sought::from(subject.as_str())));
        let text = transcript(&explained, *in_full);
        let too_wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(too_wide.is_empty(), "wider than the terminal: {too_wide:#?}");
        let text = match (text.is_empty(), explained.similar) {
            (false, _) => text,
            (true, Some(near)) => format!("nothing is known; did you mean {near}?\n"),
            (true, None) => "nothing is known\n".to_owned(),
        };
        format!("\n$ explain {subject}{all}\n{text}")
    });
    shown.collect()
}

/// Whatever the status calls reached is reached by every step, and whatever it does not has a step that says
/// why. The explanation of an address says the same as that of its guest.
pub(crate) fn agrees_with_status(world: &World) {
    let report = with_material(world, Report::of);
    for guest in &report.status.guests {
        let key: GuestKey = guest.key();
        let name = format!("{}:{}/{}", guest.server, guest.project, guest.name);
        let Explanations { explanations, .. } =
            with_material(world, |material| explain(material, &Sought::Name(name)));
        for nic in &guest.nics {
            let subject = format!("{key} {}", nic.name);
            let mut of_nic = explanations.iter().filter(|one| one.subject == subject);
            let explanation = of_nic.next().unwrap_or_else(|| panic!("{subject} is not explained"));
            agrees(explanation, nic);
            for address in &nic.addresses {
                let sought = Sought::Address(address.address);
                let explained = with_material(world, |material| explain(material, &sought));
                let its = |one: &&Explanation| one.subject == format!("{} ({subject})", address.address);
                let alone = explained.explanations.iter().find(its);
                let part = explanation.addresses.iter().find(|one| one.address == address.address);
                assert_eq!(alone.and_then(|one| one.addresses.first()), part, "{subject}");
            }
        }
    }
    for route in &report.status.unclaimed {
        let explained = with_material(world, |material| explain(material, &Sought::Address(route.address)));
        let named = explained.explanations.iter().any(|one| one.subject.contains("unclaimed"));
        assert!(named, "{explained:#?}");
    }
}

fn agrees(explanation: &Explanation, nic: &NicStatus) {
    let explained: Vec<_> = explanation.addresses.iter().map(|one| one.address).collect();
    let shown: Vec<_> = nic.addresses.iter().map(|one| one.address).collect();
    assert_eq!(explained, shown, "{explanation:#?}");
    for (explained, shown) in explanation.addresses.iter().zip(&nic.addresses) {
        let is_note = shown.state == AddressState::Refused && Code::is_note(shown.reason.as_deref());
        let reached = (!is_note).then_some(shown.state == AddressState::Routed);
        assert_eq!(explained.reached, reached, "{explanation:#?}\n{shown:#?}");
        let mut steps = explanation.steps.iter().chain(&explained.steps);
        let first = steps.find(|step| matches!(step.state, StepState::Bad));
        if reached == Some(false) {
            let first = first.unwrap_or_else(|| panic!("no step says why: {explanation:#?}"));
            assert!(first.cure.is_some(), "no cure: {first:#?}");
        }
        // A refusal is told at its step, even if the parent is at fault too.
        let telling = match shown.state {
            AddressState::Refused => explained.steps.first(),
            AddressState::Failed | AddressState::Routed => first,
        };
        assert_eq!(telling.and_then(|step| step.reason.as_ref()), shown.reason.as_ref(), "{explanation:#?}");
        let refuses = explained.steps[0].rules.iter().find(|rule| rule.refusal.is_some());
        if shown.state == AddressState::Refused {
            assert_eq!(refuses.map(|rule| &rule.code), shown.reason.as_ref(), "{explanation:#?}");
        } else {
            assert_eq!(refuses, None, "{explanation:#?}");
        }
    }
    if nic.addresses.is_empty() {
        let is_note = Code::is_note(nic.reason.as_deref());
        let reached = match nic.state {
            NicState::Stopped | NicState::Unselected => None,
            NicState::Unsupported if is_note => None,
            _ => Some(false),
        };
        assert_eq!(explanation.reached, reached, "{explanation:#?}");
        let in_state =
            |state| explanation.steps.iter().find(|step| step.state == state && step.reason.is_some());
        let first = in_state(StepState::Bad).or_else(|| in_state(StepState::Warning));
        assert_eq!(first.and_then(|step| step.reason.as_ref()), nic.reason.as_ref(), "{explanation:#?}");
    }
}

fn with_material<T>(world: &World, make: impl FnOnce(&Material<'_>) -> T) -> T {
    let problems: [Problem; 0] = [];
    make(&Material {
        host: "story",
        started: Timestamp::default(),
        time: Timestamp::default(),
        last_read: &BTreeMap::new(),
        config: &world.config,
        inventory: &world.inventory,
        snapshot: &world.kernel.snapshot,
        desired: &world.desired,
        memory: &world.memory,
        schedule: &world.schedule,
        questions: &world.questions,
        tables: &[],
        dropped: &[],
        problems: &problems,
        ready: true,
        applies: true,
        now: world.now,
    })
}
