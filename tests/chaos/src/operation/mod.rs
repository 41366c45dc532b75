//! The operations of chaos. Each is drawn with nothing but the dice and the [`Intent`], and entered there
//! before it is performed. So a seed always gives the same sequence.

pub(crate) mod absence;
pub(crate) mod daemon;
pub(crate) mod fight;
pub(crate) mod guest;
pub(crate) mod host;
pub(crate) mod line;
pub(crate) mod namespaces;
pub(crate) mod ours;
pub(crate) mod overrun;
pub(crate) mod server;
pub(crate) mod uplink;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use crate::burst::Pace;
use crate::dice::Dice;
use crate::intent::Intent;
use crate::site::{ROLES, Site};

/// An operation of chaos.
pub(crate) trait Operation: fmt::Display + fmt::Debug + Send + Sync {
    /// Its subject. Two operations at once have different subjects.
    fn subject(&self) -> Subject;

    /// Its kind, for the account of the run.
    fn kind(&self) -> &'static str;

    /// Whether the kernel or the server reports it. The daemon finds everything else when it next looks.
    fn is_told(&self) -> bool {
        true
    }

    /// Whether the shim may have another MAC afterwards, because an existing shim keeps the MAC that a new
    /// daemon finds.
    fn brings_a_mac(&self) -> bool {
        false
    }

    /// Whether frames of the shim may be on the wire until the daemon has repaired this.
    fn opens_the_wire(&self) -> bool {
        false
    }

    /// Enters its lasting changes.
    fn enter(&self, intent: &mut Intent);

    /// Performs it. `intent` is the intent once it had been entered.
    ///
    /// An error means that it was not possible just now. Other operations may well cause that.
    fn perform(&self, site: &Site, intent: &Intent) -> Result<()>;
}

/// The subject of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The daemon's objects in the kernel.
    Ours,
    /// The host's uplink.
    Uplink,
    /// The rest of the host's network.
    Host,
    /// The uplink and all guests on it.
    Everybody,
    Guest(usize),
    Server(usize),
    Daemon,
}

impl Subject {
    /// They must not be worked on at once.
    pub(crate) fn concerns(self, other: Subject) -> bool {
        match (self, other) {
            (Subject::Guest(guest), Subject::Server(server))
            | (Subject::Server(server), Subject::Guest(guest)) => ROLES[guest].server == server,
            (Subject::Uplink, Subject::Host) | (Subject::Host, Subject::Uplink) => true,
            (Subject::Ours, Subject::Ours) => false,
            (Subject::Everybody, other) | (other, Subject::Everybody) => {
                !matches!(other, Subject::Ours | Subject::Daemon)
            }
            _ => self == other,
        }
    }
}

/// Of this many draws, the kind that was done least is taken, so that all kinds soon have their turn.
const CHOICE: usize = 6;

/// How often each kind was drawn.
pub(crate) type Drawn = BTreeMap<&'static str, usize>;

/// Draws an operation that should be possible, and enters it.
pub(crate) fn draw(
    pace: Pace,
    dice: &mut Dice,
    drawn: &mut Drawn,
    intent: &mut Intent,
) -> Box<dyn Operation> {
    let times = |operation: &dyn Operation| drawn.get(operation.kind()).copied().unwrap_or_default();
    let mut operation = fall(pace, dice, intent);
    for _ in 1..CHOICE {
        let other = fall(pace, dice, intent);
        if times(&*other) < times(&*operation) {
            operation = other;
        }
    }
    enter(&*operation, drawn, intent);
    operation
}

fn enter(operation: &dyn Operation, drawn: &mut Drawn, intent: &mut Intent) {
    operation.enter(intent);
    *drawn.entry(operation.kind()).or_default() += 1;
}

fn fall(pace: Pace, dice: &mut Dice, intent: &Intent) -> Box<dyn Operation> {
    loop {
        let drawn: Option<Box<dyn Operation>> = match dice.roll(100) {
            0..26 => ours::draw(dice, intent),
            26..30 => fight::draw(dice),
            30..60 => guest::draw(dice, intent),
            60..72 => uplink::draw(dice, intent),
            72..75 => absence::draw(dice, intent),
            75..82 => host::draw(dice, intent),
            82..84 => namespaces::draw(dice, intent),
            84..88 => line::draw(dice, intent),
            88..92 => server::draw(dice, intent),
            92..93 => overrun::draw(dice, intent),
            _ => daemon::draw(dice, intent),
        };
        // A run in a hurry does not wait until the daemon looks at everything.
        if let Some(operation) = drawn.filter(|operation| pace == Pace::Steady || operation.is_told()) {
            return operation;
        }
    }
}

/// Most faults that would last are repaired at the end of a burst. Some stay for the quiet moment, or longer.
pub(crate) fn mend(
    dice: &mut Dice,
    drawn: &mut Drawn,
    intent: &mut Intent,
) -> Vec<(Box<dyn Operation>, Intent)> {
    let mut cures = uplink::cures(intent);
    cures.extend(host::cures(intent));
    cures.extend(namespaces::cures(intent));
    cures.extend(server::cures(intent));
    cures.extend(daemon::cures(intent));
    cures.retain(|_| dice.chance(60));
    cures.extend(daemon::start(intent));
    let mut entered = Vec::new();
    for cure in cures {
        enter(&*cure, drawn, intent);
        entered.push((cure, intent.clone()));
    }
    entered
}
