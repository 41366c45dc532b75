//! What chaos does. Each operation is drawn with nothing but the dice and the [`Intent`], and entered there, before
//! it is performed: a seed always gives the same sequence.

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

/// Something that chaos does.
pub(crate) trait Operation: fmt::Display + fmt::Debug + Send + Sync {
    /// What it is about: two operations at once are about different things.
    fn subject(&self) -> Subject;

    /// Its kind, for the account of the run.
    fn kind(&self) -> &'static str;

    /// Whether the kernel or the server tells of it. What nobody tells of, the daemon finds when it next looks.
    fn is_told(&self) -> bool {
        true
    }

    /// Whether the shim may have another MAC afterwards: a standing shim keeps the one that a new daemon finds.
    fn brings_a_mac(&self) -> bool {
        false
    }

    /// Whether frames of the shim may be on the wire until the daemon has put right what this does.
    fn opens_the_wire(&self) -> bool {
        false
    }

    /// Enters what it changes for good.
    fn enter(&self, intent: &mut Intent);

    /// Does it. `intent` is what was meant when it had been entered.
    ///
    /// An error means that it was not possible just now, which other operations may well bring about.
    fn perform(&self, site: &Site, intent: &Intent) -> Result<()>;
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// What the daemon has made in the kernel.
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

/// Of so many operations that fall, the one is done whose kind was done least: so all kinds have their turn soon.
const CHOICE: usize = 6;

/// How often each kind was drawn.
pub(crate) type Drawn = BTreeMap<&'static str, usize>;

/// Draws an operation that is possible, as far as one can know, and enters it.
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
        // Who hurries does not wait until the daemon looks at everything.
        if let Some(operation) = drawn.filter(|operation| pace == Pace::Steady || operation.is_told()) {
            return operation;
        }
    }
}

/// Most of what would stay broken is mended at the end of a burst; some of it stays for the quiet moment, or longer.
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
