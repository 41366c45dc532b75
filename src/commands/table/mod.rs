//! A [`Status`] as text for people: the verdict first, then the servers, the parents, everything that needs
//! somebody, and the guests. Good news is short, and bad news gives a reason and a cure.
//!
//! | file | contents |
//! | --- | --- |
//! | `head` | the verdict |
//! | `places` | the servers and the parents |
//! | `needs` | the problems, each with its cure |
//! | `guests` | the guests and their addresses |
//! | `first_guest` | the way to a first guest, if there is none yet |
//! | `named` | the guests that the user names, and the problems that concern them |
//! | `concern` | how much a guest needs somebody |
//! | `lasting` | how long something lasts already |
//! | `grid` | columns, colours and symbols |

mod concern;
mod first_guest;
pub(super) mod grid;
mod guests;
mod head;
mod lasting;
mod named;
mod needs;
mod places;

use self::grid::{Cell, Grid, Tone};
pub(super) use self::grid::{Mark, printable, wrap};
pub(super) use self::lasting::{lasting, roughly};
pub(super) use self::named::{about, is_named};
use super::output::Look;
use crate::cli::Sort;
use crate::model::status::Status;

/// The wishes of the user.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes<'a> {
    /// Only guests of these names, with all that is known of them; empty: every guest.
    pub(super) names: &'a [String],
    /// Everything is shown, however long.
    pub(super) all: bool,
    /// Only what needs somebody.
    pub(super) problems: bool,
    /// The order of guests.
    pub(super) sort: Sort,
}

/// The whole status.
pub(super) fn render(status: &Status, wishes: Wishes<'_>, look: Look) -> String {
    let needs = needs::render(status, wishes, look);
    let sections = match () {
        () if !wishes.names.is_empty() => vec![guests::render(status, wishes, look, None), needs],
        () if wishes.problems => vec![head::render(status, look), needs],
        () => {
            let above = [
                head::render(status, look),
                places::servers(status, look),
                places::parents(status, look),
                needs,
            ];
            let lines =
                above.iter().filter(|text| !text.is_empty()).map(|text| text.lines().count() + 1).sum();
            let room = look.height.map(|height: usize| height.saturating_sub(lines));
            let guests = guests::render(status, wishes, look, room);
            let first_guest = first_guest::render(status, look);
            above.into_iter().chain([guests, first_guest, unclaimed(status, look)]).collect()
        }
    };
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    sections.join("\n")
}

/// The routes that stay although no server vouches for their guests.
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

#[cfg(test)]
mod tests;
