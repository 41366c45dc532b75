//! Parents that are ports of something else. A guest on one cannot even start, so this looks at guests that are
//! stopped, too.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::snapshot::LinkKind;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::ParentIsPort, Code::ParentBusy],
    good: "no parent is a port of a bridge, bond or switch",
    find,
};

fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(&[Code::ParentIsPort, Code::ParentBusy])?;
    let view = survey.view()?;
    for (name, why) in survey.named_parents()? {
        let is_told = found.iter().any(|finding| finding.sentence.starts_with(&format!("{name}:")));
        let link = view.snapshot.link_named(&name).filter(|_| !is_told);
        let master = link.and_then(|link| view.snapshot.links.get(&link.master?));
        let Some(master) = master else { continue };
        let (code, kind) = match &master.kind {
            LinkKind::Bridge => (Code::ParentIsPort, "bridge"),
            // A VRF takes no frame from its ports.
            LinkKind::Other(kind) if kind == "vrf" => continue,
            LinkKind::Other(kind) if !kind.is_empty() => (Code::ParentBusy, kind.as_str()),
            _ => (Code::ParentBusy, "master"),
        };
        let master = &master.name;
        let sentence = format!("{name} is a port of the {kind} {master}, so it cannot carry macvlan");
        let cure = format!("make {master} the parent: lxc profile device set PROFILE DEVICE parent={master}");
        found.push(
            Finding::new(code, sentence).seen([why, format!("{name}: master {master}")]).cured_by(cure),
        );
    }
    Ok(found)
}
