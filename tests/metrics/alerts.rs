//! Every alert fires when it should, on the values that the program gives, and none fires when all is well.
//!
//! Each story is told minute by minute: the report of that minute, written as text and read as series.

use std::collections::BTreeMap;

use macvlan_shim::model::inventory::ServerState;
use macvlan_shim::model::op_kind::{OpAction, OpObject};
use macvlan_shim::model::status::{AddressState, NicState, ParentState, Problem, ShimState};
use macvlan_shim::model::{Code, OpKind};
use macvlan_shim::report::Report;
use macvlan_shim::report::metrics::exposition;
use serde_json::json;

use crate::promtool::promtool;
use crate::rich::{healthy, second};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/monitoring/alerts.yml");
/// The minute in which a story takes its turn.
const TURN: u64 = 10;
/// The minute of the verdict.
const VERDICT: u64 = 24;

/// The names of all alerts.
fn alerts() -> Vec<String> {
    let rules = std::fs::read_to_string(RULES).unwrap();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// The report of a minute on a node where all is well.
fn well(minute: u64) -> Report {
    let mut report = healthy();
    let now = second(minute * 60);
    report.figures.tally.last_pass = now;
    let read = report.status.servers.iter_mut().filter(|server| server.version.is_some());
    read.for_each(|server| server.last_read = now);
    report
}

/// The series of a story, as promtool reads them.
fn series(end: u64, report: impl Fn(u64) -> Report) -> Vec<serde_json::Value> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for minute in 0..=end {
        for line in exposition(&report(minute)).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let target = r#"instance="node",job="macvlan-shim""#;
            let name = match name.split_once('{') {
                Some((name, labels)) => format!("{name}{{{target},{labels}"),
                None => format!("{name}{{{target}}}"),
            };
            let its = values.entry(name).or_default();
            // A series that was not there has a gap.
            its.resize(usize::try_from(minute).unwrap(), "_".to_owned());
            its.push(value.to_owned());
        }
    }
    let shown = values.into_iter().map(|(name, values)| json!({"series": name, "values": values.join(" ")}));
    shown.collect()
}

/// Whether exactly these alerts fire at that minute.
fn fire(series: &[serde_json::Value], minute: u64, expected: &[&str]) -> Result<(), String> {
    let tests: Vec<_> = alerts().iter().map(|alert| {
        let expr = format!("group(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}) or vector(0)");
        let value = u8::from(expected.contains(&alert.as_str()));
        json!({"expr": expr, "eval_time": format!("{minute}m"), "exp_samples": [{"labels": "{}", "value": value}]})
    }).collect();
    let file = json!({"rule_files": [RULES], "evaluation_interval": "1m",
                      "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.yml");
    std::fs::write(&path, file.to_string()).unwrap();
    promtool(&["test", "rules", path.to_str().unwrap()], "")
}

/// A story in which something happens to the report of every minute from the turn on. The number is that of
/// the minutes since.
fn story(expected: &[&str], verdict: u64, happens: impl Fn(&mut Report, u64)) {
    let series = series(verdict, |minute| {
        let mut report = well(minute);
        if let Some(since) = minute.checked_sub(TURN) {
            happens(&mut report, since);
        }
        report
    });
    fire(&series, verdict, expected).unwrap_or_else(|said| panic!("{expected:?}: {said}"));
}

#[test]
fn the_rules_are_well_formed() {
    promtool(&["check", "rules", RULES], "").unwrap();
    assert_eq!(alerts().len(), 9);
}

#[test]
fn none_fires_when_all_is_well() {
    story(&[], 60, |_, _| {});
}

/// A refusal that is nobody's fault is no fault here either: status has the same verdict.
#[test]
fn none_fires_for_a_guest_that_is_refused_for_a_reason_that_is_nobodys_fault() {
    story(&[], 60, |report, _| {
        report.status.counts.wanted -= 1;
        report.status.counts.reached -= 1;
        let nic = &mut report.status.guests[0].nics[0];
        nic.state = NicState::Refused;
        nic.addresses[0].state = AddressState::Refused;
        nic.addresses[0].reason = Some(Code::OtherUplink.to_string());
    });
}

#[test]
fn a_daemon_that_hangs_is_down() {
    story(&["MacvlanShimDown"], 16, |report, _| report.figures.tally.last_pass = second(TURN * 60));
}

#[test]
fn a_daemon_that_cannot_be_scraped_is_down() {
    let up = |value| [json!({"series": "up{instance=\"node\",job=\"macvlan-shim\"}", "values": value})];
    fire(&up("1x9 0x15"), VERDICT, &["MacvlanShimDown"]).unwrap();
    fire(&up("1x30"), VERDICT, &[]).unwrap();
}

#[test]
fn a_unit_that_is_not_active_is_down() {
    let unit = "node_systemd_unit_state{instance=\"node\",name=\"macvlan-shimd.service\",state=\"active\"}";
    let active = |value| [json!({"series": unit, "values": value})];
    fire(&active("1x9 0x15"), VERDICT, &["MacvlanShimDown"]).unwrap();
    fire(&active("1x30"), VERDICT, &[]).unwrap();
}

#[test]
fn a_guest_that_is_not_reached() {
    story(&["MacvlanShimGuestUnreachable"], VERDICT, |report, _| {
        report.status.counts.reached -= 1;
        report.status.guests[0].nics[0].state = NicState::Waiting;
    });
}

#[test]
fn a_parent_without_carrier() {
    story(&["MacvlanShimGuestUnreachable", "MacvlanShimParentDown"], VERDICT, |report, _| {
        report.status.counts.reached -= 1;
        report.status.guests[0].nics[0].state = NicState::Failed;
        report.status.shims[1].state = ShimState::Down;
        report.status.shims[1].parent_state = ParentState::NoCarrier;
    });
}

#[test]
fn a_server_that_does_not_answer() {
    story(&["MacvlanShimServerLost"], VERDICT, |report, _| {
        report.status.servers[0].state = ServerState::Failed
    });
}

/// It was stopped. Its place has a series, because it was read before.
#[test]
fn a_server_that_is_gone() {
    story(&["MacvlanShimServerLost"], VERDICT, |report, _| {
        report.status.servers[0].state = ServerState::Absent
    });
}

#[test]
fn a_server_that_was_not_read_for_a_quarter_of_an_hour() {
    story(&["MacvlanShimServerLost"], 40, |report, _| {
        report.status.servers.iter_mut().for_each(|server| server.last_read = second(TURN * 60));
    });
}

#[test]
fn a_claim_to_the_address_of_somebody_else() {
    story(&["MacvlanShimAddressConflict"], VERDICT, |report, _| {
        report.figures.tally.conflicts = [(Code::HeldOnLan, 1)].into();
    });
}

#[test]
fn a_shim_without_a_filter() {
    story(&["MacvlanShimUnguarded"], VERDICT, |report, _| report.status.shims[0].filtered = false);
}

#[test]
fn a_shim_that_cannot_stand_lacks_no_filter() {
    story(&[], VERDICT, |report, _| {
        report.status.shims[0].filtered = false;
        report.status.shims[0].state = ShimState::Failed;
    });
}

#[test]
fn a_configuration_that_was_refused() {
    story(&["MacvlanShimConfigRejected"], VERDICT, |report, _| {
        report.status.problems.push(Problem::new(
            Code::ConfigRejected,
            "configuration",
            "it is faulty",
            "correct it",
        ));
    });
}

#[test]
fn changes_that_keep_failing() {
    let failed = (OpKind { object: OpObject::Filter, action: OpAction::Change }, false);
    story(&["MacvlanShimFailing"], VERDICT, |report, since| {
        report.figures.tally.operations.insert(failed, since * 2);
    });
    // One that failed once was made at the next try.
    story(&[], VERDICT, |report, _| {
        report.figures.tally.operations.insert(failed, 1);
    });
}

#[test]
fn events_that_are_lost_again_and_again() {
    story(&["MacvlanShimFailing"], VERDICT, |report, since| report.figures.tally.netlink.overruns = since);
}

#[test]
fn a_neighbour_table_that_is_nearly_full() {
    story(&["MacvlanShimNeighbourTableNearlyFull"], VERDICT, |report, _| {
        report.figures.tables[0].entries = 900
    });
}
