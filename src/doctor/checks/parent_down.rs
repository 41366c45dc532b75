//! Parents that no frame passes.

use crate::doctor::check::{Check, Findings};
use crate::doctor::survey::Survey;
use crate::model::Code;

const CODES: &[Code] = &[Code::ParentDown, Code::NoCarrier];

/// The check.
pub(super) const CHECK: Check =
    Check { codes: CODES, good: "every parent of a guest is up and has a carrier", find };

fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(CODES)?;
    let Ok(view) = survey.view() else { return Ok(found) };
    for finding in &mut found {
        let parents = view.parents().map(|(parent, _)| parent);
        let parent =
            parents.into_iter().find(|link| finding.sentence.starts_with(&format!("{}:", link.name)));
        let Some(parent) = parent else { continue };
        let guests: Vec<String> = view.served_on(parent.index).map(|(nic, ..)| nic.to_string()).collect();
        let flags = if parent.up { "has no carrier (NO-CARRIER)" } else { "has no flag UP" };
        finding.evidence.push(format!("{} {flags}", parent.name));
        if !guests.is_empty() {
            finding.evidence.push(format!("on it: {}", guests.join(", ")));
        }
    }
    Ok(found)
}
