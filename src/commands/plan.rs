//! `macvlan-shim plan`: what `run` would change now. Changes nothing.

use std::path::Path;

use serde::Serialize;

use super::Failure;
use super::scratch::Scratch;
use crate::model::{Op, Severity, Step};
use crate::reconcile::diff;

/// One step, as `--json` shows it: keys may be added, never renamed.
#[derive(Serialize)]
struct StepView {
    op: String,
    why: String,
    after_breath: bool,
    /// The kind of object.
    kind: &'static str,
    /// The object: its link, and its address or range on that link.
    object: String,
    /// `add`, `change`, `set` (one of these two) or `delete`, or `ask` for a question to the LAN.
    action: &'static str,
}

impl StepView {
    fn of(step: &Step) -> StepView {
        let (kind, action) = step.op.kind_and_action();
        let object = match (&step.op, step.op.object()) {
            (Op::AddRule { family, priority } | Op::DeleteRule { family, priority }, _) => {
                format!("{family} rule {priority}")
            }
            (_, (link, None)) => link.to_owned(),
            (_, (link, Some(destination))) => format!("{destination} on {link}"),
        };
        let (op, why, after_breath) = (step.op.to_string(), step.why.clone(), step.when.waits());
        StepView { op, why, after_breath, kind, object, action }
    }
}

/// Runs it.
pub fn plan(config_file: Option<&Path>, json: bool) -> Result<u8, Failure> {
    let scratch = Scratch::look(config_file, "plan")?;
    let plan = diff(&scratch.decided.desired, scratch.kernel.snapshot());
    scratch.complain_about_servers();
    let problems = scratch.decided.desired.all_problems(scratch.kernel.snapshot());
    for problem in &problems {
        super::complain(format_args!("{}: {}\n  hint: {}", problem.object, problem.message, problem.hint));
    }
    // They keep something from being done, so the plan is not all that is wanted.
    let in_the_way = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let exit = if in_the_way > 0 { super::FAILED } else { super::GOOD };
    if json {
        let view: Vec<StepView> = plan.iter().map(StepView::of).collect();
        super::say(format_args!("{}", serde_json::to_string_pretty(&view)?))?;
        return Ok(exit);
    }
    match (plan.is_empty(), in_the_way) {
        (false, _) => {}
        (true, 0) => super::say(format_args!("nothing to do: the kernel's state is as it should be"))?,
        (true, 1) => super::say(format_args!("nothing can be done: 1 problem stands in the way"))?,
        (true, more) => super::say(format_args!("nothing can be done: {more} problems stand in the way"))?,
    }
    for step in &plan {
        super::say(format_args!("{}: {}", step.op, step.why))?;
    }
    Ok(exit)
}
