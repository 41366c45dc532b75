//! Servers that do not answer, or refuse the daemon.

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::Finding;
use crate::doctor::survey::Survey;
use crate::model::Code;

const CODES: &[Code] = &[Code::ServerFailed, Code::ServerAbsent, Code::ServerIncomplete];

/// The check.
pub(super) const CHECK: Check =
    Check { codes: CODES, good: "every server answers, and its socket is open to the daemon", find };

/// Root may ask every server. The unit's user may not, if a socket's group is not the unit's.
fn find(survey: &Survey) -> Findings {
    let mut found = survey.told(CODES)?;
    let Ok(unit) = &survey.unit else { return Ok(found) };
    for socket in survey.sockets.iter().filter(|_| unit.exists) {
        let may = socket.is_open_to_all || socket.is_open_to_group && unit.groups.contains(&socket.group);
        if may || found.iter().any(|finding| finding.sentence.contains(&socket.path)) {
            continue;
        }
        let (path, group) = (&socket.path, &socket.group);
        let sentence = format!("the daemon's user has no right to {path}");
        let rights = if socket.is_open_to_group { "open to its group" } else { "closed to its group" };
        let finding = Finding::new(Code::ServerFailed, sentence).seen([
            format!("{path}: group {group}, {rights}"),
            format!("the unit's groups: {}", unit.groups.join(", ")),
        ]);
        let cure =
            format!("systemctl edit macvlan-shimd: [Service] SupplementaryGroups={group}, then restart it");
        found.push(finding.cured_by(cure));
    }
    Ok(found)
}
