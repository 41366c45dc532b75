//! One file for a bug report.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::shown;
use crate::commands::Failure;
use crate::commands::output::{Look, print};
use crate::commands::programs::{Program, run_all};
use crate::doctor::Examined;
use crate::doctor::redact::Redactor;
use crate::doctor::survey::Survey;
use crate::model::names::{FILTER_TABLE, LINK_GROUP, PROTOCOL};
use crate::model::text;

/// Writes it, and says where it is.
pub(super) fn write(
    file: &Path,
    survey: &Survey,
    outcomes: &[Examined],
    redact: bool,
) -> Result<(), Failure> {
    let mut report = contents(survey, outcomes)?;
    if redact {
        report = Redactor::default().redact(&report);
    }
    std::fs::write(file, report).map_err(|error| {
        Failure::new(format!("cannot write the report to {}", file.display())).because(&error)
    })?;
    let warning = match redact {
        true => "MACs and addresses are masked in it; the names of guests and hosts are not",
        false => {
            "it has names, MACs and addresses of this host and its guests; --redact masks MACs and addresses"
        }
    };
    print(&format!("the report is in {}\n{warning}\n", text::visible(&file.display().to_string())))
}

fn contents(survey: &Survey, outcomes: &[Examined]) -> Result<String, Failure> {
    let look = Look { colour: false, width: Some(100), height: None, symbols: true };
    let status = match survey.status() {
        Ok(status) => serde_json::to_string_pretty(status)?,
        Err(gap) => format!("not read: {}", gap.why),
    };
    let plan = match survey.view() {
        Ok(view) if view.plan.is_empty() => "nothing to do".to_owned(),
        Ok(view) => view.plan.iter().map(|step| format!("{}: {}\n", step.op, step.why)).collect(),
        Err(gap) => format!("not read: {}", gap.why),
    };
    let mut report = String::new();
    let mut section = |title: &str, body: &str| {
        // A string takes everything.
        let _ = write!(report, "==== {title}\n\n{}\n\n", body.trim_end());
    };
    section("macvlan-shim", env!("CARGO_PKG_VERSION"));
    section("the host", &format!("{}, Linux {}", survey.system, survey.release));
    section("macvlan-shim doctor --all", &shown::rendered(survey, outcomes, Duration::ZERO, true, look));
    section("macvlan-shim status --json", &status);
    section("macvlan-shim plan", &plan);
    section("macvlan-shim config show", &survey.config.to_toml());
    let commands = commands();
    let outputs = run_all(&commands);
    for (program, output) in commands.iter().zip(outputs) {
        let output = output.unwrap_or_else(|why| format!("not read: {why}"));
        section(&program.shown(), &output.lines().map(text::visible).collect::<Vec<_>>().join("\n"));
    }
    Ok(report)
}

/// Everything of ours, as the usual programs show it.
fn commands() -> Vec<Program> {
    let (group, protocol) = (LINK_GROUP.to_string(), PROTOCOL.to_string());
    vec![
        Program::new("ip", &["-d", "link", "show", "group", &group]),
        Program::new("ip", &["-br", "link"]),
        Program::new("ip", &["-br", "address"]),
        Program::new("ip", &["-d", "route", "show", "table", "all", "proto", &protocol]),
        Program::new("ip", &["-6", "-d", "route", "show", "table", "all", "proto", &protocol]),
        Program::new("ip", &["rule"]),
        Program::new("ip", &["-6", "rule"]),
        Program::new("ip", &["-d", "neigh", "show", "nud", "permanent"]),
        Program::new("ip", &["neigh", "show", "proxy"]),
        Program::new("nft", &["list", "table", "netdev", FILTER_TABLE]),
        Program::new("journalctl", &["-u", "macvlan-shimd", "-n", "200", "--no-pager", "-o", "short-iso"]),
    ]
}
