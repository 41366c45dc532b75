//! Parts of the configuration that match nothing.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::ConfigUnused, Code::SelectMatchesNothing],
    good: "every part of the configuration matches something",
    find,
};

fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(&[Code::SelectMatchesNothing])?;
    let unused = |what: String| {
        Finding::new(Code::ConfigUnused, format!("{what}, so it has no effect"))
            .cured_by(Code::ConfigUnused.cure())
    };
    // A host without guests has none of any profile.
    if survey.all_guests()?.next().is_none() {
        return Ok(found);
    }
    let guests = || survey.inventory.guests().map(|(_, guest)| guest);
    for profile in &survey.config.select.profiles {
        if !guests().any(|guest| guest.profiles.iter().any(|its| its == profile)) {
            found.push(unused(format!("[select] profiles has {profile:?}, and no guest has that profile")));
        }
    }
    for project in &survey.config.select.projects {
        if !guests().any(|guest| guest.project == *project) {
            found.push(unused(format!("[select] projects has {project:?}, and no guest is in that project")));
        }
    }
    let view = survey.view()?;
    for (name, parent) in &survey.config.parents {
        let is_parent =
            guests().any(|guest| guest.nics.told().iter().any(|nic| nic.parent.to_string() == *name));
        let exists = view.snapshot.link_named(name).is_some();
        if exists && !is_parent && parent.routes.is_empty() && parent.keep != Some(true) {
            found.push(unused(format!("[[parent]] has {name:?}, and no guest is on it")));
        }
    }
    Ok(found)
}
