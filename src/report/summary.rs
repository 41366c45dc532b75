//! The daemon in one line.

use crate::model::inventory::ServerState;
use crate::model::status::{Counts, GuestStatus, NicState, NicStatus};
use crate::model::{Code, Inventory, text};

/// Counts the guests.
pub(super) fn count(guests: &[GuestStatus]) -> Counts {
    let wanted = guests.iter().filter(|guest| guest.nics.iter().any(is_wanted));
    let is_reached = |guest: &&GuestStatus| guest.nics.iter().any(|nic| nic.state == NicState::Reachable);
    Counts { wanted: wanted.clone().count(), reached: wanted.filter(is_reached).count() }
}

/// Whether a NIC should be reached through a shim.
pub(super) fn is_wanted(nic: &NicStatus) -> bool {
    match nic.state {
        NicState::Stopped | NicState::Unselected => false,
        NicState::Unsupported => !Code::is_note(nic.reason.as_deref()),
        NicState::Refused => nic.addresses.iter().any(|address| !Code::is_note(address.reason.as_deref())),
        NicState::Failed | NicState::Reachable | NicState::Waiting => true,
    }
}

/// One line for `systemctl status`: the guests that are reached, and the servers that are waited for.
pub fn summary(inventory: &Inventory, counts: Counts, problems: usize) -> String {
    let in_state = |states: &'static [ServerState]| {
        inventory.servers.iter().filter(|(_, server)| states.contains(&server.state))
    };
    let is_connected = in_state(&[ServerState::Connected]).next().is_some();
    let awaited: Vec<String> = in_state(&[ServerState::Connecting, ServerState::Failed])
        .map(|(id, server)| match &server.message {
            Some(message) => format!("{id} ({message})"),
            None => id.to_string(),
        })
        .collect();
    let Counts { wanted, reached } = counts;
    let guests = match (is_connected, wanted) {
        (true, _) | (false, 1..) => Some(format!("{reached} of {wanted} guests reachable")),
        (false, 0) => None,
    };
    let problems = (problems > 0).then(|| text::count(problems, "problem", "problems"));
    let waits = match (is_connected, awaited.is_empty()) {
        (true, true) => None,
        (_, false) => Some(format!("waiting for {}", awaited.join(" and "))),
        (false, true) => Some("waiting for an LXD or Incus server".to_owned()),
    };
    let parts: Vec<String> = guests.into_iter().chain(problems).chain(waits).collect();
    parts.join(", ")
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

    fn guest(nic: serde_json::Value) -> GuestStatus {
        let mut all = serde_json::json!({"name": "eth0", "parent": "eth0", "mac": null, "state": "refused", "reason": null,
                                         "message": null, "addresses": []});
        nic.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
        let guest = serde_json::json!({"server": "lxd", "project": "default", "name": "a", "type": "container", "nics": [all]});
        serde_json::from_value(guest).unwrap()
    }

    #[test]
    fn a_guest_counts_if_it_should_be_reached_through_a_shim() {
        use serde_json::json;
        let refused = |code: Code| json!({"addresses": [{"address": "10.0.0.9", "state": "refused", "reason": code.as_str(), "message": null}]});
        for (nic, wanted, reached) in [
            (json!({"state": "reachable"}), 1, 1),
            (json!({"state": "waiting", "reason": "no-address"}), 1, 0),
            (json!({"state": "failed", "reason": "no-carrier"}), 1, 0),
            (json!({"state": "stopped"}), 0, 0),
            (json!({"state": "unselected", "reason": "opted-out"}), 0, 0),
            (json!({"state": "unsupported", "reason": "vm"}), 0, 0),
            (json!({"state": "unsupported", "reason": "mode"}), 1, 0),
            (refused(Code::OffLink), 1, 0),
            (refused(Code::OtherUplink), 0, 0),
        ] {
            assert_eq!(count(&[guest(nic.clone())]), Counts { wanted, reached }, "{nic}");
        }
    }

    #[test]
    fn the_line_counts_guests_and_problems_and_names_the_servers_that_are_awaited() {
        use ServerState::{Absent, Connected, Connecting, Failed};
        let reach = |reached, wanted, problems| (Counts { wanted, reached }, problems);
        for (states, (counts, problems), line) in [
            (&[("lxd", Absent)][..], reach(0, 0, 0), "waiting for an LXD or Incus server"),
            (
                &[("lxd", Absent)],
                reach(2, 2, 0),
                "2 of 2 guests reachable, waiting for an LXD or Incus server",
            ),
            (&[("lxd", Connecting)], reach(0, 0, 0), "waiting for lxd"),
            (&[("incus", Connected)], reach(1, 1, 0), "1 of 1 guests reachable"),
            (&[("incus", Connected)], reach(2, 3, 1), "2 of 3 guests reachable, 1 problem"),
            (
                &[("incus", Connected), ("lxd", Failed)],
                reach(0, 0, 2),
                "0 of 0 guests reachable, 2 problems, waiting for lxd (no permission)",
            ),
        ] {
            assert_eq!(summary(&inventory(states), counts, problems), line);
        }
    }
}
