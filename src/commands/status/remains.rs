//! Without a daemon: why it ended, and what it left, which goes on carrying traffic.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::commands::programs::{Program, run};
use crate::commands::{Failure, NO_DAEMON};
use crate::kernel::Kernel;
use crate::model::snapshot::{Link, Snapshot, is_host};
use crate::model::{LinkIndex, Timestamp, names, text};

/// The unit of the package.
const UNIT: &str = "macvlan-shimd.service";
/// Number of the last lines of its last run that are shown.
const LINES: &str = "8";

/// The failure, and what can be found out without a daemon if there is none.
pub(super) fn told(mut failure: Failure, socket: &Path) -> Failure {
    if failure.exit != NO_DAEMON {
        return failure;
    }
    if socket == Path::new(names::CONTROL_SOCKET) {
        failure.causes.extend(end());
    }
    if let Ok(kernel) = Kernel::open() {
        failure.causes.extend(remains(kernel.snapshot()));
    }
    failure
}

/// The shims that stand, a line each.
fn remains(snapshot: &Snapshot) -> Vec<String> {
    let shims = snapshot.shims().map(|(parent, shim)| {
        let routes = snapshot.routes.iter().filter(|(key, route)| route.ours && key.link == shim.index);
        let (hosts, ranges): (Vec<_>, Vec<_>) = routes.partition(|(key, _)| is_host(&key.destination));
        let filter = snapshot.filter.shims.get(&shim.index).is_some_and(|filter| filter.whole);
        let ranges = match ranges.len() {
            0 => String::new(),
            ranges => format!(", {}", text::count(ranges, "range", "ranges")),
        };
        format!(
            "{} on {}: {}, {}{ranges}, filter {}",
            shim.name,
            snapshot.links.get(&parent).map_or("a parent that is gone", |parent| &parent.name),
            state(snapshot, parent, shim),
            text::count(hosts.len(), "address of a guest", "addresses of guests"),
            if filter { "on" } else { "off" },
        )
    });
    let shims: Vec<String> = shims.collect();
    match shims.is_empty() {
        true => vec!["nothing of it stands".to_owned()],
        false => ["what it made still stands, and nobody follows changes:".to_owned()]
            .into_iter()
            .chain(shims.into_iter().map(|shim| format!("  {shim}")))
            .collect(),
    }
}

/// Whether frames pass it.
fn state(snapshot: &Snapshot, parent: LinkIndex, shim: &Link) -> String {
    let outage = snapshot.links.get(&parent).and_then(Link::outage).or_else(|| shim.outage());
    outage.map_or_else(|| "up".to_owned(), |(_, sentence)| sentence)
}

/// When and why the unit ended, as far as systemd and the journal know.
fn end() -> Vec<String> {
    let properties =
        ["LoadState", "ActiveState", "InactiveEnterTimestamp", "Result", "InvocationID"].join(",");
    let arguments = ["show", UNIT, "--timestamp=unix", "--property", &properties];
    let Some(shown) = output("systemctl", &arguments) else { return Vec::new() };
    let value = |key: &str| shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    match (value("LoadState"), value("ActiveState")) {
        (Some("not-found"), _) | (None, _) => return vec![format!("there is no {UNIT}")],
        (Some("masked"), _) => return vec![format!("{UNIT} is masked")],
        (_, Some("active")) => return vec![format!("{UNIT} runs; is it in this network namespace?")],
        _ => {}
    }
    let ended = value("InactiveEnterTimestamp").and_then(|time| time.strip_prefix('@')?.parse().ok());
    let when = match ended {
        Some(0) | None => "it has not run since the host started".to_owned(),
        Some(seconds) => {
            let ended = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let ago = crate::commands::table::roughly(ended.age(SystemTime::now().into()));
            match value("Result") {
                Some("success") | None => format!("it was stopped {ago} ago"),
                Some(result) => format!("it ended {ago} ago ({result}), and the last that it said is:"),
            }
        }
    };
    let failed = value("Result").is_some_and(|result| result != "success");
    let said = value("InvocationID").filter(|_| failed).and_then(|run| {
        let run = format!("_SYSTEMD_INVOCATION_ID={run}");
        output("journalctl", &["--no-pager", "--quiet", "--output=cat", "--lines", LINES, &run])
    });
    let said = said.iter().flat_map(|said| said.lines()).map(|line| format!("  {}", text::visible(line)));
    std::iter::once(when).chain(said).collect()
}

/// The output of a program; `None` if it cannot be run, fails or takes too long.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    run(&Program::new(program, arguments)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mac;
    use crate::model::inventory::Mode;
    use crate::model::snapshot::{LinkKind, Route, RouteKey, RouteKind};

    #[test]
    fn the_shims_that_stand_are_named() {
        let mut snapshot = Snapshot::default();
        assert_eq!(remains(&snapshot), ["nothing of it stands"]);
        let link = |index, name: &str| Link {
            index: LinkIndex(index),
            name: name.into(),
            up: true,
            ..Link::default()
        };
        let shim = Link {
            kind: LinkKind::Macvlan(Mode::Bridge),
            made_with: Some(Mac([2, 0, 0, 0, 0, 1])),
            lower: Some(LinkIndex(2)),
            ..link(7, "mvs-eth0")
        };
        snapshot.links = [link(2, "eth0"), shim].into_iter().map(|link| (link.index, link)).collect();
        for destination in ["10.0.0.8/32", "10.0.0.9/32", "10.1.0.0/24"] {
            let destination = destination.parse().unwrap();
            let key = RouteKey { table: 254, destination, metric: 0, link: LinkIndex(7) };
            snapshot
                .routes
                .insert(key, Route { source: None, ours: true, gateway: false, kind: RouteKind::Unicast });
        }
        let line = "  mvs-eth0 on eth0: up, 2 addresses of guests, 1 range, filter off";
        assert_eq!(remains(&snapshot)[1..], [line]);
        snapshot.links.get_mut(&LinkIndex(2)).unwrap().no_carrier = true;
        assert!(remains(&snapshot)[1].contains("eth0 has no carrier"));
    }
}
