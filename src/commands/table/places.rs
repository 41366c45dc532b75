//! The servers and the parents.

use std::net::IpAddr;

use super::grid::{Cell, Grid, Mark};
use super::lasting::roughly;
use crate::commands::output::Look;
use crate::model::Timestamp;
use crate::model::inventory::{ServerKind, ServerState};
use crate::model::status::{ParentState, ServerStatus, ShimState, ShimStatus, Status};

/// The servers.
pub(super) fn servers(status: &Status, look: Look) -> String {
    // If one server is there, servers that never were get no row.
    let any_there = status.servers.iter().any(|server| server.state != ServerState::Absent);
    let worth_a_row = |server: &&ServerStatus| {
        !any_there || server.state != ServerState::Absent || server.version.is_some()
    };
    let servers: Vec<&ServerStatus> = status.servers.iter().filter(worth_a_row).collect();
    if servers.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(["SERVER", "VERSION", "STATE", "GUESTS", "SOCKET"]);
    for server in servers {
        let kind = server.kind.map(|kind| match kind {
            ServerKind::Lxd => "LXD",
            ServerKind::Incus => "Incus",
        });
        let version: Vec<&str> = kind.into_iter().chain(server.version.as_deref()).collect();
        let told = |state: &str| with_age(state, server.since, status.time);
        let state = match server.state {
            ServerState::Connected => Cell::marked(Mark::Good, &told("connected"), look),
            ServerState::Connecting => Cell::marked(Mark::Warning, &told("connecting"), look),
            ServerState::Absent => Cell::marked(Mark::Idle, &told("absent"), look),
            ServerState::Failed => Cell::marked(Mark::Bad, &told("failed"), look),
        };
        let guests = status.guests.iter().filter(|guest| guest.server == server.id).count();
        // Most messages name the socket themselves.
        let socket = Some(server.socket.clone());
        let socket =
            socket.filter(|socket| !server.message.as_ref().is_some_and(|text| text.contains(socket)));
        grid.row([
            Cell::from(&server.id),
            Cell::or_dash(&version.join(" ")),
            state,
            Cell::from(&guests.to_string()),
            Cell::lines([socket, server.message.clone()]),
        ]);
    }
    grid.render(look)
}

/// The parents that have shims, or should.
pub(super) fn parents(status: &Status, look: Look) -> String {
    if status.shims.is_empty() {
        return String::new();
    }
    let mut grid =
        Grid::new(["PARENT", "STATE", "SHIM", "NICS", "ROUTES", "FILTER", "THIS HOST IS REACHED AT"]);
    for shim in &status.shims {
        let told = |state: &str| with_age(state, shim.since, status.time);
        let state = match (shim.parent_state, shim.state) {
            (ParentState::Absent, _) => Cell::marked(Mark::Bad, &told("gone"), look),
            (ParentState::Down, _) => Cell::marked(Mark::Bad, &told("down"), look),
            (ParentState::NoCarrier, _) => Cell::marked(Mark::Bad, &told("no carrier"), look),
            (ParentState::Up, ShimState::Failed) => Cell::marked(Mark::Bad, &told("no shim"), look),
            (ParentState::Up, ShimState::Down) => Cell::marked(Mark::Warning, &told("starting"), look),
            (ParentState::Up, ShimState::Up) => Cell::marked(Mark::Good, &told("up"), look),
        };
        let filter = if shim.filtered { Cell::from("on") } else { Cell::marked(Mark::Warning, "off", look) };
        grid.row([
            Cell::from(&shim.parent),
            state,
            Cell::from(&shim.name),
            Cell::from(&shim.nics.to_string()),
            Cell::from(&shim.routes.to_string()),
            filter,
            reached_at(shim),
        ]);
    }
    grid.render(look)
}

/// `connected 3 d`, or `connected` if it was so when the daemon began to look.
fn with_age(state: &str, since: Option<Timestamp>, now: Timestamp) -> String {
    match since {
        Some(since) => format!("{state} {}", roughly(since.age(now))),
        None => state.to_owned(),
    }
}

/// The host's addresses there, and everything else that was set up for that parent.
fn reached_at(shim: &ShimStatus) -> Cell {
    let list =
        |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let at = list(&shim.host_addresses);
    let own = (!shim.addresses.is_empty()).then(|| format!("{} (the shim's own)", list(&shim.addresses)));
    let at = Some(if at.is_empty() && own.is_none() { "no address of its own".to_owned() } else { at });
    let ranges: Vec<String> = shim.ranges.iter().map(ToString::to_string).collect();
    let ranges = (!ranges.is_empty()).then(|| format!("routes also {}", ranges.join(", ")));
    Cell::lines([at.filter(|at| !at.is_empty()), own, ranges])
}
