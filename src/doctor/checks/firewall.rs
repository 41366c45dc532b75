//! Whether the host's firewall drops what guests send, and passes the same from the LAN.

use std::collections::BTreeMap;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::firewall::Fate;
use crate::doctor::firewall::entrance::{Blocked, Entrance, list, places};
use crate::doctor::survey::Survey;
use crate::model::{Code, Family, Severity};

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::FirewallDropsShim],
    good: "the firewall treats guests no worse than the LAN",
    find,
};

/// One finding for each parent, of both families.
fn find(survey: &Survey) -> Findings {
    let entrances = survey.view()?.entrances();
    let firewall = survey.firewall.as_ref().map_err(Gap::clone)?;
    let mut parents: BTreeMap<&str, Vec<(&Entrance, Vec<Blocked>)>> = BTreeMap::new();
    for entrance in &entrances {
        let blocked = firewall.blocked(entrance);
        if !blocked.is_empty() {
            parents.entry(&entrance.parent).or_default().push((entrance, blocked));
        }
    }
    let finding = |(parent, entrances): (&str, Vec<(&Entrance, Vec<Blocked>)>)| {
        let families: Vec<String> = entrances.iter().map(|(it, _)| Family::of(it.host).to_string()).collect();
        let blocked: Vec<Blocked> =
            entrances.iter().flat_map(|(_, blocked)| blocked.iter().cloned()).collect();
        let is_sure = blocked.iter().any(|one| matches!(one.fate, Fate::Dropped(_)));
        let sentence = format!(
            "the firewall {} what guests on {parent} and this host send each other over {}",
            if is_sure { "drops" } else { "may drop" },
            families.join(" and "),
        );
        let finding = Finding::new(Code::FirewallDropsShim, sentence)
            .seen(places(&blocked))
            .seen([format!("the same passes {parent}: {}", list(&blocked))]);
        let mut cure: Vec<String> = Vec::new();
        for command in entrances.iter().flat_map(|(entrance, blocked)| firewall.cure(entrance, blocked)) {
            if !cure.contains(&command) {
                cure.push(command);
            }
        }
        let finding = cure.into_iter().fold(finding, Finding::cured_by);
        if is_sure { finding } else { finding.at(Severity::Warning) }
    };
    Ok(parents.into_iter().map(finding).collect())
}
