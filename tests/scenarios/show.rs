//! The form of a story's outcome.

use std::fmt::Write;

use macvlan_shim::model::{Op, Step};
use macvlan_shim::reconcile::Decision;
use macvlan_shim::reconcile::admit::Verdict;

use crate::world::World;

/// The steps of a plan, each with its mark. The sysctls of a new shim are one line, unless everything is
/// asked for.
pub(crate) fn steps(steps: &[(String, &Step)], in_full: bool) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some((mark, step)) = steps.get(at) {
        let alike = |other: &&(String, &Step)| {
            matches!((&other.1.op, &step.op), (Op::Set { shim: a, .. }, Op::Set { shim: b, .. }) if a == b)
                && other.0 == *mark
        };
        let run = steps[at..].iter().take_while(alike).count();
        match &step.op {
            Op::Set { shim, .. } if run > 4 && !in_full => {
                writeln!(text, "{mark}set the sysctls of {shim} — {}", step.why).unwrap();
                at += run;
            }
            op => {
                writeln!(text, "{mark}{op} — {}", step.why).unwrap();
                at += 1;
            }
        }
    }
    text
}

/// Every decision, and every problem.
pub(crate) fn decisions(world: &World) -> String {
    let mut text = String::new();
    let links = &world.kernel.snapshot.links;
    for (key, decision) in &world.desired.decisions {
        match decision {
            Decision::Stopped => writeln!(text, "{key}: stopped"),
            Decision::Unselected(code, why) => writeln!(text, "{key}: unselected, {code}: {why}"),
            Decision::Unsupported(code, why) => writeln!(text, "{key}: unsupported, {code}: {why}"),
            Decision::Unseen(why) => {
                let asked =
                    if world.desired.doubts.contains(&key.guest) { " (where does it live?)" } else { "" };
                writeln!(text, "{key}: unseen: {why}{asked}")
            }
            Decision::Served { child, parent, mac } => {
                let addresses: Vec<_> = world.desired.held.verdicts(child).collect();
                let parent = links.get(parent).map_or("?", |link| link.name.as_str());
                let empty = if addresses.is_empty() { ", no address" } else { "" };
                writeln!(text, "{key}: {mac} on {parent}{empty}").unwrap();
                for (address, verdict) in addresses {
                    match &*verdict {
                        Verdict::Admitted { source } => writeln!(text, "  {address} admitted, from {source}"),
                        Verdict::Refused(refusal) => {
                            writeln!(text, "  {address} refused, {}: {}", refusal.code, refusal.message)
                        }
                    }
                    .unwrap();
                }
                Ok(())
            }
        }
        .unwrap();
    }
    for (address, holder) in world.desired.held.holders.iter().filter(|(_, holder)| holder.nic.is_none()) {
        let parent = links.get(&holder.parent).map_or("?", |link| link.name.as_str());
        writeln!(text, "unclaimed: {address} at {} on {parent}", holder.mac).unwrap();
    }
    for shim in world.desired.shims.values().filter(|_| world.kernel.snapshot.filter.usable) {
        let answers: Vec<String> = shim.answers.iter().map(ToString::to_string).collect();
        writeln!(text, "{} answers for {}", shim.link.name, answers.join(", ")).unwrap();
    }
    for problem in world.desired.problems_of_host() {
        writeln!(
            text,
            "problem {} of {}: {} → {}",
            problem.code, problem.object, problem.message, problem.hint
        )
        .unwrap();
    }
    text
}

/// Both texts, line by line. Lines that are in only one of them are marked.
pub(crate) fn difference(told: &str, went: &str) -> String {
    let told: Vec<&str> = told.lines().collect();
    let went: Vec<&str> = went.lines().collect();
    // The longest common subsequence, from the end.
    let mut length = vec![vec![0usize; went.len() + 1]; told.len() + 1];
    for i in (0..told.len()).rev() {
        for j in (0..went.len()).rev() {
            length[i][j] = match told[i] == went[j] {
                true => length[i + 1][j + 1] + 1,
                false => length[i + 1][j].max(length[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut text = String::new();
    while i < told.len() || j < went.len() {
        if i < told.len() && j < went.len() && told[i] == went[j] {
            writeln!(text, "    {}", told[i]).unwrap();
            (i, j) = (i + 1, j + 1);
        } else if j == went.len() || (i < told.len() && length[i + 1][j] >= length[i][j + 1]) {
            writeln!(text, "  - {}", told[i]).unwrap();
            i += 1;
        } else {
            writeln!(text, "  + {}", went[j]).unwrap();
            j += 1;
        }
    }
    text
}
