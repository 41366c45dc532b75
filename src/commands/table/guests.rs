//! The guests and their addresses.

use super::Wishes;
use super::concern::Concern;
use super::grid::{Cell, Grid, Mark, Tone, printable, wrap};
use super::lasting::lasting;
use super::named::is_named;
use crate::cli::Sort;
use crate::commands::output::Look;
use crate::model::status::{AddressState, AddressStatus, GuestStatus, NicState, NicStatus, Status};
use crate::model::{Code, Timestamp};

/// Number of guests that are shown even if they do not fit on the terminal.
const FEW: usize = 4;
/// Maximum length of a name that has its rows beside it, in characters.
const LONG: usize = 24;
/// Maximum number of guests that a line names.
const NAMED: usize = 12;

/// The guests, with a row for each address. Guests that do not run or are left out have one line together.
/// Guests that are well and do not fit into this number of lines are counted.
pub(super) fn render(status: &Status, wishes: Wishes<'_>, look: Look, room: Option<usize>) -> String {
    let in_full = wishes.all || !wishes.names.is_empty();
    let (apart, shown): (Vec<&GuestStatus>, Vec<&GuestStatus>) = asked_for(status, wishes)
        .into_iter()
        .partition(|guest| !in_full && Concern::of(guest) == Concern::Apart);
    let together = together(&apart);
    let hidden = shown.iter().flat_map(|guest| &guest.nics).map(|nic| hidden(nic, in_full)).sum();
    let mut left = match room {
        Some(room) if !in_full => room.saturating_sub(together.len() + 3),
        _ => usize::MAX,
    };
    let mut grid = Grid::new(["GUEST", "NIC", "ADDRESS", ""]);
    let (mut count, mut more) = (0, 0);
    for guest in shown {
        let rows = rows(guest, status.time, in_full);
        if Concern::of(guest) == Concern::Well && count >= FEW && rows.len() > left {
            more += 1;
            continue;
        }
        (count, left) = (count + 1, left.saturating_sub(rows.len()));
        let label = guest.key().to_string();
        let mut name = Cell::marked(mark(Concern::of(guest)), &label, look);
        if label.chars().count() > LONG {
            grid.alone(std::mem::replace(&mut name, Cell::from("")));
        }
        for Row { nic, address, reason } in rows {
            grid.row([
                std::mem::replace(&mut name, Cell::from("")),
                Cell::from(&nic),
                Cell::from(&address),
                reason,
            ]);
        }
    }
    let mut text = if count > 0 { grid.render(look) } else { String::new() };
    let more = (more > 0).then(|| format!("{} {more} more that are well: --all shows them", look.dots()));
    let hidden = match hidden {
        0 => None,
        1 => Some("1 more address has no route, which is nobody's fault: --all shows why".to_owned()),
        hidden => {
            Some(format!("{hidden} more addresses have no route, which is nobody's fault: --all shows why"))
        }
    };
    for line in more.into_iter().chain(together).chain(hidden) {
        let width = look.width.map(|width| width.saturating_sub(2));
        text += &format!("  {}\n", wrap(&printable(&line), width, 0).join("\n  "));
    }
    text
}

/// The guests that the user asks for, in the order that the user asks for.
fn asked_for<'a>(status: &'a Status, wishes: Wishes<'_>) -> Vec<&'a GuestStatus> {
    let asked =
        |guest: &&GuestStatus| wishes.names.is_empty() || is_named(&guest.key().to_string(), wishes.names);
    let mut guests: Vec<&GuestStatus> = status.guests.iter().filter(asked).collect();
    match wishes.sort {
        Sort::Name => {}
        Sort::State => guests.sort_by_key(|guest| std::cmp::Reverse(Concern::of(guest))),
        Sort::Since => guests.sort_by_key(|guest| {
            let nics = guest.nics.iter();
            let times = nics.clone().map(|nic| nic.since);
            let of_addresses = nics.flat_map(|nic| &nic.addresses).map(|address| address.since);
            std::cmp::Reverse(times.chain(of_addresses).max().flatten())
        }),
        Sort::Address => guests.sort_by_key(|guest| {
            let addresses = guest.nics.iter().flat_map(|nic| &nic.addresses).map(|address| address.address);
            (addresses.clone().next().is_none(), addresses.min())
        }),
    }
    guests
}

fn mark(concern: Concern) -> Mark {
    match concern {
        Concern::Apart => Mark::Idle,
        Concern::Well => Mark::Good,
        Concern::Warning => Mark::Warning,
        Concern::Bad => Mark::Bad,
    }
}

/// A row of a guest.
struct Row {
    nic: String,
    address: String,
    reason: Cell,
}

/// The rows of a guest: one for each address, or one for a NIC without any.
fn rows(guest: &GuestStatus, now: Timestamp, in_full: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for nic in &guest.nics {
        let mut name = nic.name.to_string();
        let shown: Vec<&AddressStatus> = nic.addresses.iter().filter(|it| in_full || !is_quiet(it)).collect();
        if shown.is_empty() || (in_full && nic.message.is_some()) {
            let reason = nic_reason(nic, now);
            rows.push(Row { nic: std::mem::take(&mut name), address: "-".to_owned(), reason });
        }
        for address in shown {
            let reason = address_reason(address, now, in_full);
            rows.push(Row { nic: std::mem::take(&mut name), address: address.address.to_string(), reason });
        }
    }
    rows
}

/// An address without a route, which is nobody's fault.
fn is_quiet(address: &AddressStatus) -> bool {
    address.state != AddressState::Routed && Code::is_note(address.reason.as_deref())
}

/// Number of addresses of a NIC that have no row. If none has one, the row of the NIC is about them.
fn hidden(nic: &NicStatus, in_full: bool) -> usize {
    let quiet = nic.addresses.iter().filter(|address| is_quiet(address)).count();
    if in_full || quiet == nic.addresses.len() { 0 } else { quiet }
}

fn nic_reason(nic: &NicStatus, now: Timestamp) -> Cell {
    let state = match nic.state {
        NicState::Stopped => "stopped",
        NicState::Unselected => "left out",
        NicState::Unsupported => "not supported",
        NicState::Failed => "failed",
        NicState::Reachable => "reachable",
        NicState::Refused => "no route",
        NicState::Waiting => "waiting",
    };
    let first = nic.addresses.first();
    let message = nic.message.as_ref().or_else(|| first?.message.as_ref());
    let reason = nic.reason.as_ref().or_else(|| first?.reason.as_ref());
    Cell::from(&(sentence(state, message, reason) + &lasting(nic.since, now)))
}

fn address_reason(address: &AddressStatus, now: Timestamp, in_full: bool) -> Cell {
    let lasting = lasting(address.since, now);
    let state = match (address.state, address.source) {
        (AddressState::Routed, Some(source)) if in_full => {
            return Cell::from(&format!("routed from {source}{lasting}"));
        }
        (AddressState::Routed, _) => return Cell::toned(lasting.trim_start_matches(", "), Tone::Faint),
        (AddressState::Refused, _) => "refused",
        (AddressState::Failed, _) => "failed",
    };
    match &address.reason {
        // The sentence is with the problems.
        Some(code) if !in_full => Cell::toned(&(code.clone() + &lasting), Tone::Bad),
        code => Cell::from(&(sentence(state, address.message.as_ref(), code.as_ref()) + &lasting)),
    }
}

fn sentence(state: &str, message: Option<&String>, reason: Option<&String>) -> String {
    match (message, reason) {
        (Some(message), Some(code)) => format!("{state}: {message} ({code})"),
        (Some(text), None) | (None, Some(text)) => format!("{state}: {text}"),
        (None, None) => state.to_owned(),
    }
}

/// Guests that do not run, or are left out, in one line for each of these states.
fn together(guests: &[&GuestStatus]) -> Vec<String> {
    let states = [
        (NicState::Stopped, "stopped"),
        (NicState::Unselected, "left out"),
        (NicState::Unsupported, "not supported"),
    ];
    let lines = states.into_iter().filter_map(|(state, word)| {
        let of_state = guests.iter().filter_map(|guest| Some((guest, guest.nics.first()?)));
        let names: Vec<String> = of_state
            .filter(|(_, nic)| nic.state == state)
            .map(|(guest, nic)| match &nic.reason {
                Some(code) => format!("{} ({code})", guest.key()),
                None => guest.key().to_string(),
            })
            .collect();
        let more = names.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("{} {word}: {named}{more}", names.len()))
    });
    lines.collect()
}
