//! keepalived whose peer may be a guest: it hears none of its advertisements on the uplink.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

/// The check.
pub(super) const CHECK: Check = Check {
    codes: &[Code::KeepalivedNamesUplink],
    good: "no keepalived of this host speaks on an uplink that guests are on",
    find,
};

fn find(survey: &Survey) -> Findings {
    let Some(lines) = survey.programs.get("keepalived") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (parent, shim) in survey.view()?.parents() {
        let line = lines.iter().find(|line| {
            let mut words = line.text.split_whitespace();
            words.next() == Some("interface") && words.next() == Some(parent.name.as_str())
        });
        let Some(line) = line else { continue };
        let sentence = format!(
            "keepalived speaks VRRP on {}: a peer that is a guest of this host does not hear it",
            parent.name
        );
        let finding = Finding::new(Code::KeepalivedNamesUplink, sentence)
            .seen([format!("{}:{}: {}", line.file, line.number, line.text)])
            .cured_by(format!(
                "if its peer is such a guest: interface {shim}, with unicast_peer; else nothing"
            ));
        found.push(finding);
    }
    Ok(found)
}
