//! The daemon in one line.

use crate::model::Inventory;
use crate::model::inventory::ServerState;
use crate::reconcile::Desired;

/// One line for `systemctl status`: the servers that are served, and those that are waited for.
pub fn summary(inventory: &Inventory, desired: &Desired) -> String {
    let in_state = |states: &'static [ServerState]| {
        inventory.servers.iter().filter(|(_, server)| states.contains(&server.state))
    };
    let connected: Vec<String> = in_state(&[ServerState::Connected]).map(|(id, _)| id.to_string()).collect();
    let awaited: Vec<String> = in_state(&[ServerState::Connecting, ServerState::Failed])
        .map(|(id, server)| match &server.message {
            Some(message) => format!("{id} ({message})"),
            None => id.to_string(),
        })
        .collect();
    let serves = || {
        format!("{} addresses of guests of {} routed", desired.held.holders.len(), connected.join(" and "))
    };
    match (connected.is_empty(), awaited.is_empty()) {
        (true, true) => "waiting for an LXD or Incus server".to_owned(),
        (true, false) => format!("waiting for {}", awaited.join(" and ")),
        (false, true) => serves(),
        (false, false) => format!("{}; waiting for {}", serves(), awaited.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::ServerId;
    use crate::model::inventory::Server;

    fn inventory(states: &[(&str, ServerState)]) -> Inventory {
        let server = |(id, state): &(&str, ServerState)| {
            let server = Server {
                place: "/run/unix.socket".into(),
                state: *state,
                message: (*state == ServerState::Failed).then(|| "no permission".to_owned()),
                ..Server::default()
            };
            (ServerId((*id).into()), Arc::new(server))
        };
        Inventory { servers: states.iter().map(server).collect() }
    }

    #[test]
    fn the_line_names_the_servers_that_are_served_and_those_that_are_awaited() {
        use ServerState::{Absent, Connected, Connecting, Failed};
        for (states, line) in [
            (&[("lxd", Absent)][..], "waiting for an LXD or Incus server"),
            (&[("lxd", Connecting)], "waiting for lxd"),
            (&[("incus", Connected)], "0 addresses of guests of incus routed"),
            (
                &[("incus", Connected), ("lxd", Failed)],
                "0 addresses of guests of incus routed; waiting for lxd (no permission)",
            ),
        ] {
            assert_eq!(summary(&inventory(states), &Desired::default()), line);
        }
    }
}
