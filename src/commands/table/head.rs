//! The verdict.

use super::grid::Mark;
use super::lasting::roughly;
use crate::commands::output::Look;
use crate::model::status::{Counts, Status};
use crate::model::{Code, Severity, names};

/// One line if all is well, else two.
pub(super) fn render(status: &Status, look: Look) -> String {
    let (mark, verdict) = verdict(status);
    let on = if status.host.is_empty() {
        String::new()
    } else {
        format!(" on {}", super::grid::printable(&status.host))
    };
    let up = roughly(status.started.age(status.time));
    let program = format!("{} {} {}{on}, up {up}", mark.painted(look), names::PROGRAM, status.version);
    let needs = match status.problems.len() {
        0 => String::new(),
        1 => "; 1 thing needs you".to_owned(),
        more => format!("; {more} things need you"),
    };
    match status.problems.is_empty() {
        true => format!("{program}: {verdict}\n"),
        false => format!("{program}\n  {verdict}{needs}\n"),
    }
}

fn verdict(status: &Status) -> (Mark, String) {
    let has = |code: Code| status.problems.iter().any(|problem| problem.code == code.as_str());
    let is_bad = status.problems.iter().any(|problem| problem.severity == Severity::Error);
    let Counts { wanted, reached } = status.counts;
    let mark = match () {
        () if is_bad || reached < wanted => Mark::Bad,
        () if !status.problems.is_empty() => Mark::Warning,
        () if !status.ready || wanted == 0 => Mark::Idle,
        () => Mark::Good,
    };
    let verdict = match (reached, wanted) {
        _ if !status.ready && has(Code::ServerFailed) => "it cannot read all its servers".to_owned(),
        _ if !status.ready => "it is still reading its servers".to_owned(),
        (_, 0) if has(Code::NoServer) => "it finds no LXD and no Incus".to_owned(),
        (_, 0) => "there is no running guest to serve".to_owned(),
        (1, 1) => "the running guest is reachable".to_owned(),
        (0, 1) => "the running guest is not reachable".to_owned(),
        (reached, wanted) if reached == wanted => format!("all {wanted} running guests are reachable"),
        (reached, wanted) => format!("{reached} of {wanted} running guests are reachable"),
    };
    (mark, verdict)
}
