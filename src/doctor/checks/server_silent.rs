//! Whether the daemon has heard of its servers lately, and knows the same guests as they do.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::doctor::check::{Check, Findings};
use crate::doctor::finding::{Finding, Gap};
use crate::doctor::survey::{DaemonState, Survey};
use crate::model::Code;
use crate::model::inventory::ServerState;

/// The check.
pub(super) const CHECK: Check =
    Check { codes: &[Code::ServerSilent], good: "the daemon knows the guests that its servers have", find };

/// How long a server is not read at most. It is read every five minutes, however quiet it is.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Maximum number of guests that are named.
const SHOWN: usize = 5;

/// A change of the last moment looks the same, so the sentence says so.
fn find(survey: &Survey) -> Findings {
    let DaemonState::Answers(status) = &survey.daemon else {
        return Err(Gap::new("no daemon answers, so nobody can tell which guests it knows"));
    };
    let mut found = Vec::new();
    for server in status.servers.iter().filter(|server| server.state == ServerState::Connected) {
        let Some(age) = server.last_read.map(|read| read.age(survey.time)).filter(|age| *age > PATIENCE)
        else {
            continue;
        };
        let sentence = format!("{} was last read {} min ago", server.id, age.as_secs() / 60);
        let finding =
            Finding::new(Code::ServerSilent, sentence).seen([format!("its socket: {}", server.socket)]);
        found.push(
            finding.cured_by("see whether it answers others, and why not: its log, lxc list or incus list"),
        );
    }
    for (id, server) in &survey.inventory.servers {
        let Some(guests) = &server.guests else { continue };
        let there: BTreeSet<String> =
            guests.iter().map(|guest| format!("{}/{}", guest.project, guest.name)).collect();
        let known = status.guests.iter().filter(|guest| guest.server == id.0);
        let known: BTreeSet<String> =
            known.map(|guest| format!("{}/{}", guest.project, guest.name)).collect();
        let differs: Vec<&str> = there.symmetric_difference(&known).map(String::as_str).take(SHOWN).collect();
        if differs.is_empty() {
            continue;
        }
        let sentence = format!("the daemon's list of guests of {id} is not that of {id} itself");
        let finding = Finding::new(Code::ServerSilent, sentence)
            .seen([format!("different: {}", differs.join(", "))])
            .cured_by("look again, because a guest may just have come or gone")
            .cured_by(
                "if it stays so: systemctl reload macvlan-shimd, and macvlan-shim doctor --report FILE",
            );
        found.push(finding);
    }
    Ok(found)
}
