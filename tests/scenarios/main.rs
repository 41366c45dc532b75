//! Stories as text: `tests/scenarios/*.txt`. Each says what exists, and after `=>` what is decided and done.
//!
//! `UPDATE_SCENARIOS=1 cargo test --test scenarios` writes the code's behaviour after every `=>`. Read it
//! afterwards: the expected part must be what an operator may expect (`packaging/docs`,
//! `.github/SECURITY.md`), not what the code happens to do.
//!
//! A story has a title, a blank line, and lines that say what exists (`scenarios/world.rs` has the syntax).
//! After `=>` comes the plan, line by line, then the decisions, then the explanations that the story asks for. `then`, or `then after 200ms`, continues the
//! story: the in-memory kernel has obeyed everything in the plan that was due, and something happens. These
//! marks may stand before an op:
//!
//! * `(after a breath)` it waits, because its object must have been surplus for 200 ms; `(a breath is over)`
//!   it runs now;
//! * `(held)` something that it needs has not happened yet; `(backs off)` it failed before and waits;
//! * `(EBUSY)` it was tried, and the kernel refused it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod explained;
#[path = "../in_memory_kernel/mod.rs"]
mod in_memory_kernel;
mod show;
mod world;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use macvlan_shim::config::Probe;
use macvlan_shim::model::plan::{Progress, Scope, When};
use macvlan_shim::model::{Code, Op};
use macvlan_shim::reconcile::schedule::{Error, Outcome, Walked};
use macvlan_shim::reconcile::{self, Inputs, desire, diff};

use world::World;

#[test]
fn every_story_goes_as_it_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    assert!(!files.is_empty(), "no stories in {}", folder.display());
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut wrong = String::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy();
        let told = fs::read_to_string(&file).unwrap();
        let went = retell(&told).unwrap_or_else(|error| panic!("{name}: {error}"));
        if went == told {
            continue;
        }
        if update {
            fs::write(&file, went).unwrap();
        } else {
            write!(wrong, "\n{name}\n{}", show::difference(&told, &went)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "stories differ (-: expected, +: actual):\n{wrong}");
}

/// The same text, with the actual outcome after every `=>`.
fn retell(told: &str) -> Result<String, String> {
    let mut went = String::new();
    let mut world = World::new();
    let mut report = String::new();
    let mut lines = told.lines().enumerate().peekable();
    // The title.
    for (_, line) in lines.by_ref() {
        writeln!(went, "{line}").unwrap();
        if line.is_empty() {
            break;
        }
    }
    while let Some((number, line)) = lines.next() {
        writeln!(went, "{line}").unwrap();
        if line != "=>" {
            let error = |error| format!("line {}: {line:?}: {error}", number + 1);
            if let Some(after) = line.strip_prefix("then") {
                world.wait(after.trim()).map_err(error)?;
            } else {
                world.hear(line).map_err(error)?;
            }
            continue;
        }
        went.push_str(&obey(&mut world));
        let new = show::decisions(&world);
        if new != report {
            went.push('\n');
            went.push_str(if new.is_empty() { "no guest\n" } else { &new });
            report = new;
        }
        went.push_str(&explained::transcripts(&world));
        explained::agrees_with_status(&world);
        while lines.next_if(|(_, line)| !line.starts_with("then")).is_some() {}
        if lines.peek().is_some() {
            went.push('\n');
        }
    }
    Ok(went)
}

/// Decides again. If only the kernel has changed or a time is up, amending the last decision must give the
/// same result.
fn decide(world: &mut World, amends: bool) {
    let World { config, inventory, kernel, memory, now, .. } = world;
    let mut changes = kernel.changes_since(&world.seen);
    if changes.all {
        world.schedule.host_changed();
    }
    changes.merge(memory.tenure.due(*now));
    changes.all |= !amends;
    let inputs = Inputs { config, inventory, snapshot: &kernel.snapshot, now: *now };
    let (mut amended, mut remembered) = (std::mem::take(&mut world.desired), memory.clone());
    reconcile::decide(&mut amended, &mut remembered, &inputs, &changes);
    (world.desired, *memory) = desire(&inputs, memory);
    assert!(amended == world.desired, "amended: {amended:#?}\ndecided: {:#?}", world.desired);
    world.seen = kernel.snapshot.clone();
}

/// Plans and obeys everything that is due until nothing more is, and returns the story of it.
fn obey(world: &mut World) -> String {
    let mut went = String::new();
    for walk in 0.. {
        assert!(walk < 8, "it never ends:\n{went}");
        world.read_config();
        let told = std::mem::take(&mut world.told);
        decide(world, walk > 0 || !told);
        let asked = ask(world);
        went.push_str(&asked);
        let plan = diff(&world.desired, &world.kernel.snapshot);
        let mut schedule = std::mem::take(&mut world.schedule);
        let now = world.now;
        let walked = schedule.walk(
            &plan,
            &Scope::All,
            || now,
            |step| world.apply(&step.op).map(|()| Progress::Done).map_err(|message| error(&step.op, message)),
        );
        world.schedule = schedule;
        world.memory.take_in(&world.desired, &walked);
        let mut ran = !asked.is_empty();
        let mut told = Vec::new();
        for Walked { step, outcome } in &walked {
            let mark = match (outcome, step.when) {
                (Outcome::Ran { result: Err(error), .. }, _) => format!("({}) ", error.message),
                (Outcome::Ran { .. }, When::AfterBreath) => "(a breath is over) ".to_owned(),
                (Outcome::Ran { .. }, When::AfterBlink) => "(a blink is over) ".to_owned(),
                (Outcome::Ran { .. }, When::Now) => String::new(),
                (_, When::AfterBreath) => "(after a breath) ".to_owned(),
                (_, When::AfterBlink) => "(after a blink) ".to_owned(),
                (Outcome::Begun, When::Now) => "(begun) ".to_owned(),
                (Outcome::Waits, When::Now) => "(backs off) ".to_owned(),
                (Outcome::Held, When::Now) => "(held) ".to_owned(),
            };
            let has_run = matches!(outcome, Outcome::Ran { .. });
            ran |= has_run;
            // Steps that have not run are shown once.
            if has_run || walk == 0 {
                told.push((mark, *step));
            }
        }
        if walk > 0 && !told.is_empty() {
            went.push_str("and then\n");
        }
        went.push_str(&show::steps(&told, world.in_full));
        if !ran {
            break;
        }
    }
    if went.is_empty() { "nothing to do\n".to_owned() } else { went }
}

/// The kernel's error, in the words of the schedule.
fn error(op: &Op, message: String) -> Error {
    let is_taken = matches!(op, Op::CreateShim { .. } | Op::SetUp { .. }) && message == "EADDRINUSE";
    Error { code: if is_taken { Code::MacTaken } else { Code::KernelRefused }, message, hint: None }
}

/// Asks the LAN for the addresses that are due, and decides again if it cannot be asked.
fn ask(world: &mut World) -> String {
    let mut asked = String::new();
    let mut questions = std::mem::take(&mut world.questions);
    let mut config = world.config.clone();
    if !world.asks_for_all {
        config.policy.probe = Probe::Off;
    }
    loop {
        questions.look(&config, &world.desired, &world.kernel.snapshot, &Scope::All, world.now);
        while let Some(op) = questions.next(&world.kernel.snapshot, world.now) {
            let result = world.apply(&op);
            let mark = result.as_ref().err().map(|error| format!("({error}) ")).unwrap_or_default();
            writeln!(asked, "{mark}{op}").unwrap();
            let result = result.map_err(|message| error(&op, message));
            questions.asked(op, world.now, result);
        }
        let unasked = questions.unasked();
        if unasked == world.memory.trust.unasked {
            break;
        }
        world.memory.trust.unasked = unasked;
        decide(world, false);
    }
    world.questions = questions;
    asked
}
