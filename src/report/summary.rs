//! The daemon in one line.

use std::collections::BTreeSet;

use super::material::Material;
use crate::model::inventory::ServerState;
use crate::model::status::Counts;
use crate::model::{GuestKey, Inventory, Severity};
use crate::reconcile::Decision;

/// The state of everything in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Number of guests.
    pub counts: Counts,
    /// Number of problems.
    pub problems: usize,
}

impl Material<'_> {
    /// Counts the guests.
    pub(super) fn counts(&self) -> Counts {
        let Material { desired, snapshot, .. } = self;
        let is_wanted = |decision: &Decision| match decision {
            Decision::Stopped | Decision::Unselected(..) => false,
            Decision::Unsupported(code, _) => code.severity() != Severity::Note,
            Decision::Unseen(_) | Decision::Served { .. } => true,
        };
        let wanted = desired.decisions.iter().filter(|(_, decision)| is_wanted(decision));
        let wanted: BTreeSet<&GuestKey> = wanted.map(|(nic, _)| &nic.guest).collect();
        let passes = |parent| snapshot.links.get(parent).is_some_and(|link| link.outage().is_none());
        let holders = desired.held.holders.values().filter(|holder| passes(&holder.parent));
        let reached: BTreeSet<&GuestKey> =
            holders.filter_map(|holder| holder.nic.as_ref()).map(|nic| &nic.guest).collect();
        Counts { wanted: wanted.len(), reached: reached.intersection(&wanted).count() }
    }
}

/// One line for `systemctl status`: the guests that are reached, and the servers that are waited for.
pub fn summary(inventory: &Inventory, reach: Reach) -> String {
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
    let Counts { wanted, reached } = reach.counts;
    let guests = match (is_connected, wanted) {
        (true, _) | (false, 1..) => Some(format!("{reached} of {wanted} guests reachable")),
        (false, 0) => None,
    };
    let problems = match reach.problems {
        0 => None,
        1 => Some("1 problem".to_owned()),
        more => Some(format!("{more} problems")),
    };
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

    #[test]
    fn the_line_counts_guests_and_problems_and_names_the_servers_that_are_awaited() {
        use ServerState::{Absent, Connected, Connecting, Failed};
        let reach = |reached, wanted, problems| Reach { counts: Counts { wanted, reached }, problems };
        for (states, reach, line) in [
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
            assert_eq!(summary(&inventory(states), reach), line);
        }
    }
}
