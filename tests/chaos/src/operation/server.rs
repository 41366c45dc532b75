//! Events of LXD and Incus.

use std::fmt;

use anyhow::Result;

use super::{Operation, Subject};
use crate::dice::Dice;
use crate::intent::{Intent, ServerIntent};
use crate::site::{SERVERS, Site};

#[derive(Clone, Copy, Debug)]
struct Change {
    server: usize,
    act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Kill,
    Stop,
    Start,
    Hang,
    GoOn,
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let server = dice.roll(SERVERS.len());
    let acts: &[Act] = match intent.servers[server] {
        ServerIntent::Up => &[Act::Kill, Act::Stop, Act::Hang],
        ServerIntent::Down => &[Act::Start],
        ServerIntent::Hung => &[Act::GoOn, Act::GoOn, Act::Kill],
    };
    Some(Box::new(Change { server, act: dice.pick(acts)? }))
}

/// The operation that restores them.
pub(super) fn cures(intent: &Intent) -> Vec<Box<dyn Operation>> {
    let cure = |(server, state): (usize, &ServerIntent)| -> Option<Box<dyn Operation>> {
        let act = match state {
            ServerIntent::Up => return None,
            ServerIntent::Down => Act::Start,
            ServerIntent::Hung => Act::GoOn,
        };
        Some(Box::new(Change { server, act }))
    };
    intent.servers.iter().enumerate().filter_map(cure).collect()
}

impl Operation for Change {
    fn subject(&self) -> Subject {
        Subject::Server(self.server)
    }

    fn kind(&self) -> &'static str {
        match self.act {
            Act::Kill => "a server is killed",
            Act::Stop => "a server is stopped",
            Act::Start => "a server is started",
            Act::Hang => "a server hangs",
            Act::GoOn => "a server goes on",
        }
    }

    /// A server that hung for long is asked again at intervals.
    fn is_told(&self) -> bool {
        self.act != Act::GoOn
    }

    fn enter(&self, intent: &mut Intent) {
        intent.servers[self.server] = match self.act {
            Act::Kill | Act::Stop => ServerIntent::Down,
            Act::Start | Act::GoOn => ServerIntent::Up,
            Act::Hang => ServerIntent::Hung,
        };
    }

    fn perform(&self, site: &Site, _: &Intent) -> Result<()> {
        let (server, line) = (&site.servers[self.server], &site.lines[self.server]);
        match self.act {
            Act::Kill => {
                server.kill_daemon()?;
                line.close(true);
                Ok(())
            }
            Act::Stop => {
                server.stop_daemon()?;
                line.close(false);
                Ok(())
            }
            Act::Start => {
                server.start_daemon()?;
                line.open()
            }
            Act::Hang => server.signal_daemon("STOP"),
            Act::GoOn => server.signal_daemon("CONT"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), SERVERS[self.server])
    }
}
