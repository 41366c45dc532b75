//! The findings, for people: the gravest first, each with what was seen and what to do.

use std::cmp::Reverse;
use std::time::Duration;

use crate::commands::output::Look;
use crate::commands::table::{Mark, printable, wrap};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::doctor::{Examined, count};
use crate::model::inventory::ServerKind;
use crate::model::{Code, Severity};

/// Width of a code and the mark before it.
const CODES: usize = 26;

/// Width of the words before lines of evidence, and their indent.
const LABEL: usize = 15;

/// The text.
pub(super) fn rendered(
    survey: &Survey,
    outcomes: &[Examined],
    time: Duration,
    all: bool,
    look: Look,
) -> String {
    let seconds = time.as_secs_f32();
    let head = format!("Looking at {}, {} checks in {seconds:.1} s", host(survey), outcomes.len());
    let mut text = wrap(&head, look.width, 2).join("\n  ") + "\n\n";
    let mut found: Vec<&Finding> =
        outcomes.iter().filter_map(|it| it.found.as_ref().ok()).flatten().collect();
    found.sort_by_key(|finding| Reverse(finding.severity));
    for finding in found {
        text += &one(finding, look);
    }
    for outcome in outcomes {
        if let (Err(gap), true) = (&outcome.found, all) {
            text += &line(Mark::Unknown, outcome.code, &format!("not made: {}", gap.why), look);
        }
    }
    let is_good = |outcome: &&Examined| outcome.found.as_ref().is_ok_and(Vec::is_empty);
    for outcome in outcomes.iter().filter(is_good).filter(|_| all) {
        text += &line(Mark::Good, outcome.code, outcome.good, look);
    }
    if !all {
        text += &folded(outcomes, outcomes.iter().filter(is_good).count(), look);
    }
    text + "\n" + &summary(outcomes)
}

fn host(survey: &Survey) -> String {
    let servers = survey.inventory.servers.values().filter_map(|server| {
        let kind = match server.kind? {
            ServerKind::Lxd => "LXD",
            ServerKind::Incus => "Incus",
        };
        Some(format!("{kind} {}", server.version.as_ref()?))
    });
    let parts = [survey.system.clone(), format!("Linux {}", survey.release)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).chain(servers).collect();
    printable(&format!("{} ({})", survey.name, parts.join(", ")))
}

fn mark(severity: Severity) -> Mark {
    match severity {
        Severity::Error => Mark::Bad,
        Severity::Warning => Mark::Warning,
        Severity::Note => Mark::Idle,
    }
}

/// A mark, a code and a sentence.
fn line(mark: Mark, code: Code, sentence: &str, look: Look) -> String {
    let room = look.width.map(|width| width.saturating_sub(CODES));
    let sentence = wrap(&printable(sentence), room, 0).join(&format!("\n{}", " ".repeat(CODES)));
    format!("{} {:<width$}{sentence}\n", mark.painted(look), format!("{code} "), width = CODES - 2)
}

fn one(finding: &Finding, look: Look) -> String {
    let mut text = line(mark(finding.severity), finding.code, &finding.sentence, look);
    for (label, lines) in [("evidence", &finding.evidence), ("cure", &finding.cure)] {
        for (number, line) in lines.iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let room = look.width.map(|width| width.saturating_sub(LABEL));
            let line = wrap(&printable(line), room, 0).join(&format!("\n{}", " ".repeat(LABEL)));
            text += &format!("    {label:<width$}{line}\n", width = LABEL - 4);
        }
    }
    text
}

/// The checks that are not shown one by one.
fn folded(outcomes: &[Examined], good: usize, look: Look) -> String {
    let checks = |number: usize| if number == 1 { "1 check is" } else { "checks are" }.to_owned();
    let number = |number: usize| if number == 1 { checks(1) } else { format!("{number} {}", checks(number)) };
    let mut text = format!("{} {} good: --all shows them\n", Mark::Good.painted(look), number(good));
    let gaps: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.found.as_ref().err()).collect();
    if gaps.is_empty() {
        return text;
    }
    text += &format!("{} {} not made:\n", Mark::Unknown.painted(look), number(gaps.len()));
    let mut reasons: Vec<&str> = Vec::new();
    for gap in &gaps {
        if !reasons.contains(&gap.why.as_str()) {
            reasons.push(&gap.why);
        }
    }
    for reason in reasons {
        let room = look.width.map(|width| width.saturating_sub(4));
        text += &format!("    {}\n", wrap(&printable(reason), room, 0).join("\n    "));
    }
    if gaps.iter().any(|gap| gap.needs_root) {
        text += "    Root can read more: sudo macvlan-shim doctor\n";
    }
    text
}

fn summary(outcomes: &[Examined]) -> String {
    let number = |severity, word: &str| match count(outcomes, severity) {
        1 => format!("1 {word}"),
        more => format!("{more} {word}s"),
    };
    format!(
        "{}, {}, {}.\nFor scripts: --json; for a bug report: --report FILE\n",
        number(Severity::Error, "fault"),
        number(Severity::Warning, "warning"),
        number(Severity::Note, "note"),
    )
}
