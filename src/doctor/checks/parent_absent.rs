//! Parents that are not there. A guest on one cannot even start, so this looks at guests that are stopped, too.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check =
    Check { codes: &[Code::ParentAbsent, Code::NotSeen], good: "every parent that is named exists", find };

fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(&[Code::ParentAbsent, Code::NotSeen])?;
    let view = survey.view()?;
    for (name, why) in survey.named_parents()? {
        let is_told = found.iter().any(|finding| finding.sentence.split([' ', ':']).any(|word| word == name));
        if is_told || view.snapshot.link_named(&name).is_some() {
            continue;
        }
        let links = view.snapshot.links.values().filter(|link| link.lower.is_none() && link.name != "lo");
        let links: Vec<&str> = links.map(|link| link.name.as_str()).collect();
        let finding = Finding::new(Code::ParentAbsent, format!("{name} is no interface of this host"));
        let cure =
            "name one that exists: lxc config device set GUEST NIC parent=LINK, or lxc profile device set";
        found.push(finding.seen([why, format!("its interfaces: {}", links.join(", "))]).cured_by(cure));
    }
    Ok(found)
}
