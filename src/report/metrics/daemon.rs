//! The values of the daemon, its configuration and its servers.

use super::families::{
    BUILD_INFO, CONFIG_GOOD, CONFIG_LOADED, LAST_PASS, PROBLEMS, READY, SERVER_DISCONNECTS, SERVER_EVENTS,
    SERVER_INFO, SERVER_READ, SERVER_UP, START,
};
use super::sheet::Sheet;
use crate::model::code::Topic;
use crate::model::inventory::{ServerKind, ServerState};
use crate::model::status::ServerStatus;
use crate::model::tally::ServerTally;
use crate::model::{Code, ServerId, Severity};
use crate::report::Report;

/// The commit that the binary was built from, if `make` built it.
const REVISION: Option<&str> = option_env!("MACVLAN_SHIM_REVISION");

/// Adds the families.
pub(super) fn fill(sheet: &mut Sheet, report: &Report) {
    let (status, tally) = (&report.status, &report.figures.tally);
    let is_problem = |code: Code| status.problems.iter().any(|problem| problem.code == code.as_str());
    sheet.add(BUILD_INFO, [([status.version.as_str(), REVISION.unwrap_or_default()], 1)]);
    sheet.add_times(START, [([], Some(status.started))]);
    sheet.add(READY, [([], u64::from(status.ready))]);
    sheet.add_times(LAST_PASS, [([], tally.last_pass)]);
    sheet.add(CONFIG_GOOD, [([], u64::from(!is_problem(Code::ConfigRejected)))]);
    sheet.add_times(CONFIG_LOADED, [([], tally.config_loaded)]);
    sheet.add(PROBLEMS, problem_codes().map(|code| ([code.as_str(), severity(code)], count(report, code))));
    let servers: Vec<&ServerStatus> = servers(report).collect();
    let numbers = |server: &ServerStatus| -> ServerTally {
        tally.servers.get(&ServerId(server.id.clone())).copied().unwrap_or_default()
    };
    let up = |server: &ServerStatus| u64::from(server.state == ServerState::Connected);
    sheet.add(SERVER_UP, servers.iter().map(|it| ([it.id.as_str(), kind(it)], up(it))));
    let info = servers.iter().filter_map(|it| {
        Some(([it.id.as_str(), kind(it), it.version.as_deref()?, it.name.as_deref().unwrap_or_default()], 1))
    });
    sheet.add(SERVER_INFO, info);
    sheet.add_times(SERVER_READ, servers.iter().map(|it| ([it.id.as_str()], it.last_read)));
    sheet.add(SERVER_EVENTS, servers.iter().map(|it| ([it.id.as_str()], numbers(it).events)));
    sheet.add(SERVER_DISCONNECTS, servers.iter().map(|it| ([it.id.as_str()], numbers(it).disconnects)));
}

/// The servers that have series: not the places where one might have been. A server that was read once keeps
/// them, so that an alert sees that it is gone.
pub(super) fn servers(report: &Report) -> impl Iterator<Item = &ServerStatus> {
    let named = report.figures.servers_are_named;
    report
        .status
        .servers
        .iter()
        .filter(move |server| named || server.state != ServerState::Absent || server.version.is_some())
}

fn kind(server: &ServerStatus) -> &'static str {
    match server.kind {
        Some(ServerKind::Lxd) => "lxd",
        Some(ServerKind::Incus) => "incus",
        // Prometheus takes an empty label for none.
        None => "",
    }
}

/// The codes that a problem of the status can have: a note is none, and some faults only `doctor` finds.
fn problem_codes() -> impl Iterator<Item = Code> {
    let shown = |code: &Code| code.severity() > Severity::Note && code.topic() != Topic::Doctor;
    Code::ALL.iter().copied().filter(shown)
}

fn severity(code: Code) -> &'static str {
    match code.severity() {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn count(report: &Report, code: Code) -> u64 {
    let problems = report.status.problems.iter();
    problems.filter(|problem| problem.code == code.as_str()).map(|_| 1).sum()
}
