//! The way to a first guest, for an operator who has none yet.

use super::grid::{printable, wrap};
use crate::commands::output::Look;
use crate::model::inventory::{ServerKind, ServerState};
use crate::model::status::Status;

/// Nothing if there are guests with macvlan NICs, or if no server can be read.
pub(super) fn render(status: &Status, look: Look) -> String {
    let mut servers = status.servers.iter().filter(|server| server.state == ServerState::Connected);
    let (Some(server), true) = (servers.next(), status.guests.is_empty()) else { return String::new() };
    let client = match server.kind {
        Some(ServerKind::Incus) => "incus",
        Some(ServerKind::Lxd) | None => "lxc",
    };
    let text = |text: &str| wrap(&printable(text), look.width, 0).join("\n") + "\n";
    let commands = [
        "profile create macvlan",
        "profile device add macvlan eth0 nic nictype=macvlan parent=PARENT",
        "profile add GUEST macvlan",
    ];
    let commands: String = commands.iter().map(|command| format!("  {client} {command}\n")).collect();
    let all = servers.fold(server.id.to_string(), |all, server| all + " and " + &server.id);
    text(&format!(
        "No guest of {all} has a macvlan NIC. A profile with one puts a guest on the LAN of PARENT, which is an interface of this host:"
    )) + &commands
        + &text("A guest that should be here and is not: macvlan-shim explain GUEST")
}
