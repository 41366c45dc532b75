//! Macvlan children that no server knows: Docker's, Podman's, Kubernetes', or made by hand.

use std::collections::BTreeMap;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;
use crate::model::inventory::Mode;
use crate::model::snapshot::{Child, Netns};

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::ForeignChild],
    good: "every macvlan in a namespace is that of a guest of LXD or Incus",
    find,
};

/// Maximum number of children that are shown.
const SHOWN: usize = 4;

fn find(survey: &Survey) -> Findings {
    let view = survey.view()?;
    // Without the word of its server a guest looks like a stranger.
    let _ = survey.all_guests()?;
    let configured = |name: &str| survey.config.parents.get(name).is_some_and(|it| !it.routes.is_empty());
    let mut foreign: BTreeMap<&str, Vec<&Child>> = BTreeMap::new();
    for (key, child) in &view.snapshot.children {
        let parent = view.snapshot.links.get(&child.parent).map(|link| link.name.as_str());
        let is_foreign = key.netns != Netns::Host && view.joins.joined(key).is_none() && !child.tap;
        if let Some(parent) =
            parent.filter(|name| is_foreign && child.mode == Mode::Bridge && !configured(name))
        {
            foreign.entry(parent).or_default().push(child);
        }
    }
    let finding = |(parent, children): (&str, Vec<&Child>)| {
        let sentence = match children.len() {
            1 => format!("1 macvlan on {parent} is that of no guest of LXD or Incus, and is not reached"),
            more => format!(
                "{more} macvlans on {parent} are those of no guest of LXD or Incus, and are not reached"
            ),
        };
        let shown = children.iter().take(SHOWN).map(|child| {
            let addresses: Vec<String> = child.addresses.keys().map(ToString::to_string).collect();
            let docker = if child.mac.0.starts_with(&[2, 0x42]) { " (Docker's, by its MAC)" } else { "" };
            format!("{} {}{docker}", child.mac, addresses.join(", ")).trim_end().to_owned()
        });
        Finding::new(Code::ForeignChild, sentence)
            .seen(shown)
            .cured_by(format!("[[parent]] name = \"{parent}\", routes = [the range of their addresses]"))
    };
    Ok(foreign.into_iter().map(finding).collect())
}
