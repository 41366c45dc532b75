//! Links by hand that do what macvlan-shim does.

use ipnet::IpNet;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::{KernelView, Survey};
use crate::model::Code;
use crate::model::snapshot::{Link, LinkKind, RouteKind};

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::RecipeLink, Code::RouteTaken],
    good: "no link or route by hand does what macvlan-shim does",
    find,
};

/// Maximum number of routes, and of lines of files, that are shown.
const SHOWN: usize = 4;

fn find(survey: &Survey) -> Findings {
    let view = survey.view()?;
    let mut found = Vec::new();
    let by_hand = view.snapshot.links.values().filter(|link| {
        matches!(link.kind, LinkKind::Macvlan(_)) && link.lower.is_some() && link.shim_parent().is_none()
    });
    for link in by_hand {
        let routes = routes_to_guests(view, link);
        if routes.is_empty() {
            continue;
        }
        let name = &link.name;
        let lines = survey.boot_files.iter().filter(|line| names(&line.text, name));
        let lines: Vec<String> =
            lines.map(|line| format!("{}:{}: {}", line.file, line.number, line.text)).collect();
        let parent = link.lower.and_then(|lower| view.snapshot.links.get(&lower));
        let parent = parent.map_or("?", |parent| parent.name.as_str());
        let cure = match lines.is_empty() {
            true => "and take it out of whatever makes it at boot".to_owned(),
            false => "and take it out of the files above".to_owned(),
        };
        let finding = Finding::new(Code::RecipeLink, format!("{name} does by hand what macvlan-shim does"))
            .seen([format!("{name}@{parent}, a macvlan of the host, leads to guests:")])
            .seen(routes.iter().take(SHOWN).map(|route| format!("{route} dev {name}")))
            .seen(lines.into_iter().take(SHOWN))
            .cured_by(format!("ip link delete {name}"))
            .cured_by(cure);
        found.push(finding);
    }
    found.extend(survey.told(&[Code::RouteTaken])?);
    Ok(found)
}

/// The routes through a link that lead to guests on its parent: to an address of one of them, or to a range that
/// has one.
fn routes_to_guests(view: &KernelView, link: &Link) -> Vec<IpNet> {
    let guests = || view.snapshot.children.values().filter(|child| Some(child.parent) == link.lower);
    let leads_to_guest = |destination: &IpNet| {
        guests().any(|child| child.addresses.keys().any(|net| destination.contains(&net.addr())))
    };
    let through = view.snapshot.routing.iter().filter(|(key, way)| {
        way.kind == RouteKind::Unicast
            && (key.link == link.index || way.direct().any(|via| via == link.index))
    });
    let own = |destination: &IpNet| {
        view.snapshot
            .addresses
            .keys()
            .any(|key| key.link == link.index && key.address.addr() == destination.addr())
    };
    let destinations =
        through.map(|(key, _)| key.destination).filter(|net| net.prefix_len() > 0 && !own(net));
    let mut routes: Vec<IpNet> = destinations.filter(leads_to_guest).collect();
    routes.sort();
    routes.dedup();
    routes
}

/// Whether a line has that name as a word.
fn names(line: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.';
    !line.starts_with('#') && line.split(|c| !is_part(c)).any(|word| word == name)
}
