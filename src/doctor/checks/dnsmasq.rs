//! dnsmasq that answers on the uplink only.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::DnsmasqNamesUplink],
    good: "no dnsmasq of this host answers on an uplink and not on the shim on it",
    find,
};

fn find(survey: &Survey) -> Findings {
    let Some(lines) = survey.programs.get("dnsmasq") else { return Ok(Vec::new()) };
    let value = |text: &str| {
        let (key, value) = text.trim_start_matches("--").split_once('=')?;
        (key.trim() == "interface").then(|| value.trim().to_owned())
    };
    let covers = |name: &str, shim: &str| match name.strip_suffix('*') {
        Some(start) => shim.starts_with(start),
        None => name == shim,
    };
    let mut found = Vec::new();
    for (parent, shim) in survey.view()?.parents() {
        let named = |line: &&_| value(line_text(line)).is_some_and(|name| name == parent.name.as_str());
        let Some(line) = lines.iter().find(named) else { continue };
        if lines.iter().filter_map(|line| value(&line.text)).any(|name| covers(&name, &shim)) {
            continue;
        }
        let sentence = format!("dnsmasq answers on {}, and not guests, who ask through {shim}", parent.name);
        let finding = Finding::new(Code::DnsmasqNamesUplink, sentence)
            .seen([format!("{}:{}: {}", line.file, line.number, line.text)])
            .cured_by("add interface=mvs-* there, and restart dnsmasq");
        found.push(finding);
    }
    Ok(found)
}

fn line_text(line: &crate::doctor::survey::ConfigLine) -> &str {
    &line.text
}
