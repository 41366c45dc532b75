//! Everything that needs somebody, each with its cure.

use super::Wishes;
use super::grid::{Cell, Mark, Tone, printable, wrap};
use super::lasting::lasting;
use super::named::about;
use crate::commands::output::Look;
use crate::model::status::{Problem, Status};
use crate::model::{Severity, Timestamp};

/// Maximum number of problems on a terminal. The first ones are the gravest.
const MOST: usize = 10;

/// The problems, errors first; nothing if there are none.
pub(super) fn render(status: &Status, wishes: Wishes<'_>, look: Look) -> String {
    let mut problems = about(status, wishes.names);
    if problems.is_empty() {
        return if wishes.names.is_empty() { "no problems\n".to_owned() } else { String::new() };
    }
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    let is_short = look.height.is_some() && !wishes.all && wishes.names.is_empty();
    let most = if is_short { MOST } else { problems.len() };
    let mut text = Cell::toned("NEEDS YOU", Tone::Header).painted(look) + "\n";
    for problem in problems.iter().take(most) {
        text += &one(problem, status.time, look);
    }
    if let Some(more) = problems.len().checked_sub(most + 1) {
        text += &format!("  {} {} more: --all shows them\n", look.dots(), more + 1);
    }
    text
}

fn one(problem: &Problem, now: Timestamp, look: Look) -> String {
    let Problem { code, severity, object, message, hint, since } = problem;
    let mark = if *severity == Severity::Error { Mark::Bad } else { Mark::Warning };
    let room = |less: usize| look.width.map(|width| width.saturating_sub(less));
    let fault = printable(&format!("{object}: {message} ({code}{})", lasting(*since, now)));
    let fault = wrap(&fault, room(2), 0);
    let cure = wrap(&printable(hint), room(6), 0);
    let arrow = if look.symbols { "→" } else { ">" };
    format!("{} {}\n    {arrow} {}\n", mark.painted(look), fault.join("\n  "), cure.join("\n      "))
}
