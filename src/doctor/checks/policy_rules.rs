//! Policy rules that come before table main, shown so that nobody wonders about table 77.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::names::{MAIN_RULE_PRIORITY, TABLE, TABLE_LOCAL};
use crate::model::routing::Action;

/// The check.
pub(super) const CHECK: Check =
    Check { codes: &[Code::PolicyRules], good: "no policy rule comes before table main", find };

/// Maximum number of rules that are shown.
const SHOWN: usize = 4;

fn find(survey: &Survey) -> Findings {
    let view = survey.view()?;
    let mut found = Vec::new();
    for (family, priority) in &view.desired.rules {
        let foreign = view.snapshot.rules.iter().filter(|rule| {
            let local = rule.priority == 0 && rule.action == Action::LookUp(TABLE_LOCAL);
            rule.family == *family && !rule.ours && !local && rule.priority < MAIN_RULE_PRIORITY
        });
        let shown = foreign.map(|rule| match rule.action {
            Action::LookUp(table) => format!("rule {}: looks up table {table}", rule.priority),
            Action::Goto(target) => format!("rule {}: goes on with rule {target}", rule.priority),
            Action::Nop => format!("rule {}: does nothing", rule.priority),
            Action::End => format!("rule {}: ends the look-up", rule.priority),
        });
        let sentence = format!(
            "policy rules of {family} come before table main, so our routes are in table {TABLE} with rule {priority}"
        );
        let finding = Finding::new(Code::PolicyRules, sentence).seen(shown.take(SHOWN));
        found.push(finding.cured_by("nothing: that is as it should be"));
    }
    Ok(found)
}
