//! A server says that the guest exists and runs.

use super::cure;
use super::gathered::Gathered;
use crate::model::explanation::{ChainStep, Cure, StepName, StepState};
use crate::model::inventory::{Home, Power, Server, ServerState};

pub(super) fn step(gathered: &Gathered<'_, '_>) -> ChainStep {
    let (name, guest) = (StepName::Server, &gathered.key.guest);
    let Some(server) = gathered.server else {
        return ChainStep::new(name, StepState::Warning, format!("{} is not followed", guest.server));
    };
    let (id, guest_name) = (&guest.server, &guest.name);
    let is_stopped = gathered.guest.is_some_and(|guest| guest.power == Power::Stopped);
    let runs = match gathered.guest.map(|guest| &guest.home) {
        _ if is_stopped => format!("it says that {guest_name} is stopped"),
        Some(Home::Pid(pid)) => format!("it says that {guest_name} runs (pid {pid})"),
        _ => format!("it says that {guest_name} runs"),
    };
    let (state, said) = match server.state {
        ServerState::Connected => (StepState::Good, format!("{id}{} is connected; {runs}", version(server))),
        ServerState::Connecting => {
            (StepState::Warning, format!("{id} is still to be read; {}", past(is_stopped)))
        }
        ServerState::Absent | ServerState::Failed => {
            let why = server.message.as_deref().unwrap_or("it cannot be read");
            (StepState::Warning, format!("{id}: {why}; {}", past(is_stopped)))
        }
    };
    if !is_stopped {
        return ChainStep::new(name, state, said);
    }
    let step = ChainStep::new(name, StepState::Warning, said);
    match cure::by_client(gathered, "start") {
        Some(command) => step.cure(Cure::of("start it if it should be reached").by(command)),
        None => step,
    }
}

fn version(server: &Server) -> String {
    server.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default()
}

fn past(is_stopped: bool) -> &'static str {
    if is_stopped { "it last said that the guest is stopped" } else { "it last said that the guest runs" }
}
