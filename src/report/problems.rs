//! Everything that needs somebody: of servers, of decisions, of the kernel.

use super::material::Material;
use crate::model::inventory::{Server, ServerState};
use crate::model::status::Problem;
use crate::model::{Code, Op};
use crate::reconcile::table_full;

/// Maximum number of failed operations that are shown one by one.
const MAX_FAILURES: usize = 20;

impl Material<'_> {
    /// Every problem.
    pub(super) fn all_problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.to_vec();
        for (id, server) in &self.inventory.servers {
            if server.state == ServerState::Failed {
                problems.push(Problem::new(
                    Code::ServerFailed,
                    id.to_string(),
                    server.message.clone().unwrap_or_else(|| "it cannot be read".to_owned()),
                    "existing routes stay in place; it is retried with increasing pauses",
                ));
            }
            if let (ServerState::Connected, Some(message)) = (server.state, &server.message) {
                problems.push(Problem::new(
                    Code::ServerIncomplete,
                    id.to_string(),
                    message.clone(),
                    "everything else of this server is served; look at the named instances and networks on it",
                ));
            }
        }
        problems.extend(self.servers_that_are_missed());
        problems.extend(self.desired.all_problems(self.snapshot));
        problems.extend(self.tables.iter().filter_map(table_full));
        let failures: Vec<_> = self.schedule.failures().chain(self.questions.failures()).collect();
        for (op, error) in failures.iter().take(MAX_FAILURES) {
            problems.push(Problem::new(
                error.code,
                about(op),
                error.message.clone(),
                error.hint.clone().unwrap_or_else(|| "it is retried with increasing pauses".to_owned()),
            ));
        }
        if let Some(more) = failures.len().checked_sub(MAX_FAILURES + 1) {
            problems.push(Problem::new(
                Code::MoreFailures,
                "kernel",
                format!("{} more operations fail", more + 1),
                "they most likely have the same cause as those above",
            ));
        }
        for (op, history) in self.schedule.fights(self.now) {
            problems.push(Problem::new(
                Code::UndoneByOthers,
                about(op),
                format!("had to {op} {} times in a row: another program keeps undoing it", history.rounds),
                "`ip monitor` shows it happen; make that program leave mvs-* interfaces and protocol 77 alone",
            ));
        }
        problems
    }

    /// A server that the configuration names should be there. If it names none, and no ranges of strangers to
    /// reach, there should be any.
    fn servers_that_are_missed(&self) -> Vec<Problem> {
        let servers = &self.inventory.servers;
        let absent = servers.iter().filter(|(_, server)| server.state == ServerState::Absent);
        let sentence =
            |server: &Server| server.message.clone().unwrap_or_else(|| "it is not there".to_owned());
        if !self.config.servers.is_empty() {
            let cure = "start it, or correct its socket in [[server]]; it is followed as soon as it is there";
            let missed = absent
                .map(|(id, server)| Problem::new(Code::ServerAbsent, id.to_string(), sentence(server), cure));
            return missed.collect();
        }
        if self.config.parents.values().any(|parent| !parent.routes.is_empty()) {
            return Vec::new();
        }
        let sentences: Vec<String> = absent.map(|(_, server)| sentence(server)).collect();
        if sentences.is_empty() || sentences.len() < servers.len() {
            return Vec::new();
        }
        let message = format!("no LXD and no Incus was found on this host: {}", sentences.join("; "));
        let cure = "it is followed as soon as it is there; if its socket is elsewhere, name it: \
                    [[server]] socket = \"/path/unix.socket\"";
        vec![Problem::new(Code::NoServer, "servers", message, cure)]
    }
}

fn about(op: &Op) -> String {
    match op.object() {
        ("", _) => "policy rules".to_owned(),
        (link, _) => link.to_owned(),
    }
}
