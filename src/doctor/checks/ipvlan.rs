//! An ipvlan on a parent excludes macvlan there.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::snapshot::{Link, LinkKind};

/// The check. It sees the links of the host's own namespace.
pub(super) const CHECK: Check =
    Check { codes: &[Code::IpvlanBeside], good: "no ipvlan of the host is on a parent", find };

fn find(survey: &Survey) -> Findings {
    let view = survey.view()?;
    let is_ipvlan =
        |link: &&Link| matches!(&link.kind, LinkKind::Other(kind) if kind == "ipvlan" || kind == "ipvtap");
    let mut found = Vec::new();
    for (name, why) in survey.named_parents()? {
        let Some(parent) = view.snapshot.link_named(&name) else { continue };
        let on_it = view.snapshot.links.values().filter(|link| link.lower == Some(parent.index));
        for link in on_it.filter(is_ipvlan) {
            let ipvlan = &link.name;
            let sentence =
                format!("{ipvlan} is an ipvlan on {name}, and a link carries either ipvlan or macvlan");
            let finding = Finding::new(Code::IpvlanBeside, sentence).seen([why.clone()]);
            found.push(
                finding.cured_by(format!("ip link delete {ipvlan}, or another parent for one of the two")),
            );
        }
    }
    Ok(found)
}
