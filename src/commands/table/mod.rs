//! A [`Status`] as text for people. Good news is short, and bad news gives a reason.

mod grid;

use self::grid::{Cell, Grid, Tone, wrap};
use super::output::Look;
use crate::model::inventory::{ServerKind, ServerState};
use crate::model::status::{
    AddressState, AddressStatus, GuestStatus, NicState, NicStatus, Problem, ServerStatus, ShimState,
    ShimStatus, Status,
};
use crate::model::{Code, GuestKey, ServerId, Severity, names};

/// The whole status.
pub(super) fn render(status: &Status, look: Look) -> String {
    let sections = [
        head(status),
        servers(&status.servers, look),
        shims(&status.shims, look),
        guests(&status.guests, look),
        unclaimed(status, look),
        problems(&status.problems, look),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    sections.join("\n")
}

fn head(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "not ready yet" };
    format!("{} {}, {ready}\n", names::PROGRAM, status.version)
}

fn servers(servers: &[ServerStatus], look: Look) -> String {
    if servers.is_empty() {
        return "no server: there is no LXD or Incus socket on this host\n".to_owned();
    }
    // If one server is there, servers that never were get no row.
    let any_there = servers.iter().any(|server| server.state != ServerState::Absent);
    let worth_a_row = |server: &&ServerStatus| {
        !any_there || server.state != ServerState::Absent || server.version.is_some()
    };
    let mut grid = Grid::new(["SERVER", "VERSION", "NAME", "STATE", "SOCKET"]);
    for server in servers.iter().filter(worth_a_row) {
        let kind = server.kind.map(|kind| match kind {
            ServerKind::Lxd => "LXD",
            ServerKind::Incus => "Incus",
        });
        let version: Vec<&str> = kind.into_iter().chain(server.version.as_deref()).collect();
        let (state, tone) = match server.state {
            ServerState::Connected => ("connected", Tone::Good),
            ServerState::Connecting => ("connecting", Tone::Waiting),
            ServerState::Absent => ("absent", Tone::Faint),
            ServerState::Failed => ("failed", Tone::Bad),
        };
        // Most messages name the socket themselves.
        let socket = Some(server.socket.clone());
        let socket =
            socket.filter(|socket| !server.message.as_ref().is_some_and(|text| text.contains(socket)));
        grid.row([
            Cell::from(&server.id),
            Cell::or_dash(&version.join(" ")),
            Cell::or_dash(server.name.as_deref().unwrap_or_default()),
            Cell::toned(state, tone),
            Cell::lines([socket, server.message.clone()]),
        ]);
    }
    grid.render(look)
}

fn shims(shims: &[ShimStatus], look: Look) -> String {
    if shims.is_empty() {
        return "no shim: no guest needs one now\n".to_owned();
    }
    let mut grid = Grid::new(["SHIM", "PARENT", "MAC", "STATE", "NICS", "OWN ADDRESSES"]);
    for shim in shims {
        let (state, tone) = match shim.state {
            ShimState::Up => ("up", Tone::Good),
            ShimState::Down => ("down", Tone::Waiting),
            ShimState::Failed => ("failed", Tone::Bad),
        };
        let addresses: Vec<String> = shim.addresses.iter().map(ToString::to_string).collect();
        let routes: Vec<String> = shim.routes.iter().map(ToString::to_string).collect();
        let routes = (!routes.is_empty()).then(|| format!("routes {}", routes.join(" ")));
        let addresses = if addresses.is_empty() { "none".to_owned() } else { addresses.join(" ") };
        grid.row([
            Cell::from(&shim.name),
            Cell::from(&shim.parent),
            Cell::or_dash(&shim.mac.map(|mac| mac.to_string()).unwrap_or_default()),
            Cell::toned(state, tone),
            Cell::from(&shim.nics.to_string()),
            Cell::lines([Some(addresses), routes, shim.message.clone()]),
        ]);
    }
    grid.render(look)
}

fn guests(guests: &[GuestStatus], look: Look) -> String {
    if guests.is_empty() {
        return "no guest with a macvlan NIC\n".to_owned();
    }
    let mut grid = Grid::new(["GUEST", "NIC", "PARENT", "ADDRESS", "STATE", "SOURCE OR REASON"]);
    for guest in guests {
        let (server, project) = (ServerId(guest.server.clone()), guest.project.clone());
        let mut label = GuestKey::new(server, project, guest.name.clone()).to_string();
        for nic in &guest.nics {
            for (n, Row { address, state, detail }) in nic_rows(nic).into_iter().enumerate() {
                let first = |text: &str| Cell::from(if n == 0 { text } else { "" });
                let guest = Cell::from(&std::mem::take(&mut label));
                grid.row([guest, first(&nic.name), first(&nic.parent), address, state, detail]);
            }
        }
    }
    grid.render(look)
}

/// The columns of a row that is about an address, or about a NIC.
struct Row {
    address: Cell,
    state: Cell,
    detail: Cell,
}

/// One row for each address. A NIC whose state they do not show has a row before them.
fn nic_rows(nic: &NicStatus) -> Vec<Row> {
    let told_by_addresses = matches!(nic.state, NicState::Reachable | NicState::Refused);
    let mut rows = Vec::new();
    if nic.addresses.is_empty() || !told_by_addresses {
        let (state, tone) = match nic.state {
            NicState::Stopped => ("stopped", Tone::Faint),
            NicState::Unselected => ("unselected", Tone::Faint),
            NicState::Unsupported => ("unsupported", Tone::Waiting),
            NicState::Failed => ("failed", Tone::Bad),
            NicState::Reachable => ("reachable", Tone::Good),
            NicState::Refused => ("refused", Tone::Bad),
            NicState::Waiting => ("waiting", Tone::Waiting),
        };
        rows.push(Row {
            address: Cell::or_dash(""),
            state: Cell::toned(state, tone),
            detail: reason(&nic.message, &nic.reason),
        });
    }
    rows.extend(nic.addresses.iter().map(address_row));
    rows
}

fn address_row(address: &AddressStatus) -> Row {
    let (state, tone) = match address.state {
        AddressState::Routed => ("routed", Tone::Good),
        AddressState::Refused if is_note(&address.reason) => ("refused", Tone::Faint),
        AddressState::Refused => ("refused", Tone::Bad),
        AddressState::Failed => ("failed", Tone::Bad),
    };
    let detail = match address.source {
        Some(source) => Cell::lines([Some(source.to_string()), address.message.clone()]),
        None => reason(&address.message, &address.reason),
    };
    Row { address: Cell::from(&address.address.to_string()), state: Cell::toned(state, tone), detail }
}

/// A reason that is nobody's fault.
fn is_note(reason: &Option<String>) -> bool {
    let code = reason.as_ref().and_then(|reason| Code::named(reason));
    code.is_some_and(|code| code.severity() == Severity::Note)
}

/// The sentence, followed by its code, which the documentation explains.
fn reason(message: &Option<String>, code: &Option<String>) -> Cell {
    match (message, code) {
        (Some(message), Some(code)) => Cell::from(&format!("{message} ({code})")),
        (Some(text), None) | (None, Some(text)) => Cell::from(text),
        (None, None) => Cell::from(""),
    }
}

fn unclaimed(status: &Status, look: Look) -> String {
    if status.unclaimed.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(["UNCLAIMED", "SHIM", "MAC", "DETAIL"]);
    for route in &status.unclaimed {
        grid.row([
            Cell::toned(&route.address.to_string(), Tone::Waiting),
            Cell::from(&route.shim),
            Cell::from(&route.mac.to_string()),
            Cell::from("kept: no server that answers vouches for it"),
        ]);
    }
    grid.render(look)
}

fn problems(problems: &[Problem], look: Look) -> String {
    if problems.is_empty() {
        return "no problems\n".to_owned();
    }
    let mut text = String::new();
    for Problem { code, severity, object, message, hint } in problems {
        let tone = if *severity == Severity::Error { Tone::Bad } else { Tone::Waiting };
        let label = Cell::toned("problem:", tone).painted(look);
        let problem = grid::printable(&format!("problem: {object}: {message} ({code})"));
        let problem = wrap(&problem, look.width, 2).join("\n  ");
        text += &format!("{}\n", problem.replacen("problem:", &label, 1));
        let hint = grid::printable(&format!("hint: {hint}"));
        let room = look.width.map(|width| width.saturating_sub(2));
        text += &format!("  {}\n", wrap(&hint, room, 6).join("\n        "));
    }
    text
}

#[cfg(test)]
mod tests;
