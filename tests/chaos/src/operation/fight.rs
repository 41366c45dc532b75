//! Another program undoes the daemon's work again and again, and then stops.

use std::fmt;

use anyhow::Result;

use super::ours::PRELUDE;
use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::Intent;
use crate::site::Site;

#[derive(Debug)]
struct Fight {
    over: &'static Prize,
    number: usize,
    /// How often it is undone.
    rounds: usize,
}

/// The objects that they fight over, and how each is undone: scripts after [`PRELUDE`].
#[derive(Debug)]
struct Prize {
    kind: &'static str,
    choose: &'static str,
    undo: &'static str,
}

const PRIZES: [Prize; 3] = [
    Prize {
        kind: "a fight over a route",
        choose: "r=$(ip route show table all proto 77 | one)",
        undo: "ip route del $r",
    },
    Prize {
        kind: "a fight over a neighbour",
        choose: "r=$(ip neigh show dev $shim proto 77 | one); r=${r%% *}",
        undo: "ip neigh del $r dev $shim",
    },
    Prize { kind: "a fight over the shim", choose: "", undo: "ip link del $shim" },
];

pub(super) fn draw(dice: &mut Dice) -> Option<Box<dyn Operation>> {
    let over = PRIZES.get(dice.roll(PRIZES.len()))?;
    Some(Box::new(Fight { over, number: dice.roll(1 << 16), rounds: 3 + dice.roll(6) }))
}

impl Operation for Fight {
    fn subject(&self) -> Subject {
        Subject::Ours
    }

    fn kind(&self) -> &'static str {
        self.over.kind
    }

    fn enter(&self, _: &mut Intent) {}

    /// The other program waits for the objects that it undoes, but not for ever, because the daemon may not
    /// run.
    fn perform(&self, site: &Site, _: &Intent) -> Result<()> {
        let Fight { over: Prize { choose, undo, .. }, number, rounds } = self;
        site.host.sh(&format!(
            "n={number}{PRELUDE}{choose}
             for round in $(seq {rounds}); do
               for look in {{1..150}}; do {undo} 2>/dev/null && continue 2; sleep 0.01; done
               break
             done"
        ))?;
        Ok(())
    }
}

impl fmt::Display for Fight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} rounds ({})", self.kind(), self.rounds, self.number)
    }
}
