//! Faults between the daemon and a server that is itself well.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use lab::Trouble;

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::{Intent, ServerIntent};
use crate::site::{SERVERS, Site};

#[derive(Clone, Copy, Debug)]
struct Fault {
    server: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Cut,
    /// It ends after this many milliseconds.
    Trouble(Trouble, u64),
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let server = dice.roll(SERVERS.len());
    if intent.servers[server] != ServerIntent::Up {
        return None;
    }
    let time = 500 + 100 * dice.roll(35) as u64;
    let delay = Duration::from_millis(dice.pick(&[20, 200, 700])?);
    let what = match dice.roll(4) {
        0 => What::Cut,
        1 => What::Trouble(Trouble::Delay(delay), time),
        2 => What::Trouble(Trouble::Silence, time),
        _ => What::Trouble(Trouble::Errors, time),
    };
    Some(Box::new(Fault { server, what }))
}

impl Operation for Fault {
    fn subject(&self) -> Subject {
        Subject::Server(self.server)
    }

    fn kind(&self) -> &'static str {
        match self.what {
            What::Cut => "the event stream is cut",
            What::Trouble(Trouble::Delay(_), _) => "a server is slow",
            What::Trouble(Trouble::Silence, _) => "a server is silent",
            What::Trouble(Trouble::Errors, _) => "a server answers with errors",
        }
    }

    fn enter(&self, _: &mut Intent) {}

    /// Trouble outlasts this call. The next operations happen in it.
    fn perform(&self, site: &Site, _: &Intent) -> Result<()> {
        site.lines[self.server].with(|relay| {
            if let What::Trouble(trouble, millis) = self.what {
                relay.trouble(trouble, Duration::from_millis(millis));
            }
            // A new connection asks for everything.
            if let What::Cut | What::Trouble(Trouble::Errors, _) = self.what {
                relay.cut();
            }
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), SERVERS[self.server])?;
        match self.what {
            What::Cut => Ok(()),
            What::Trouble(trouble, millis) => write!(f, ", {trouble:?} for {millis} ms"),
        }
    }
}
