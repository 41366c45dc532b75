//! Events of the daemon under test itself.

use std::fmt;

use anyhow::Result;

use super::{Operation, Subject};
use crate::configuration::Configuration;
use crate::dice::Dice;
use crate::intent::{DaemonIntent, Intent};
use crate::site::Site;

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Terminate,
    Start,
    /// It ends, and the other binary is started.
    Upgrade,
    /// A second one is started beside it.
    Rival,
    Reload(Configuration),
    ReloadFaulty,
}

pub(super) fn draw(dice: &mut Dice, intent: &Intent) -> Option<Box<dyn Operation>> {
    let act = match dice.roll(10) {
        _ if !intent.daemon.running => Act::Start,
        0 | 1 => Act::Kill,
        2 | 3 => Act::Terminate,
        4 => Act::ReloadFaulty,
        5 => Act::Upgrade,
        // With a faulty file it would not get as far as the lock.
        6 if intent.daemon.rejected => return None,
        6 => Act::Rival,
        7 => Act::Reload(Configuration::Default),
        _ => Act::Reload(dice.pick(&Configuration::ALL)?),
    };
    Some(Box::new(act))
}

/// The operation that has it run again. In a quiet moment it always runs.
pub(super) fn start(intent: &Intent) -> Option<Box<dyn Operation>> {
    if intent.daemon.running { None } else { Some(Box::new(Act::Start)) }
}

/// The operation that restores its configuration.
pub(super) fn cures(intent: &Intent) -> Option<Box<dyn Operation>> {
    let DaemonIntent { running, configuration, rejected } = intent.daemon;
    let strange = running && (rejected || configuration != Configuration::Default);
    if strange { Some(Box::new(Act::Reload(Configuration::Default))) } else { None }
}

impl Operation for Act {
    fn subject(&self) -> Subject {
        Subject::Daemon
    }

    fn kind(&self) -> &'static str {
        match self {
            Act::Kill => "the daemon is killed",
            Act::Terminate => "the daemon is terminated",
            Act::Start => "the daemon is started",
            Act::Upgrade => "the daemon is upgraded",
            Act::Rival => "a second daemon is started",
            Act::Reload(_) => "the daemon reloads",
            Act::ReloadFaulty => "the daemon reloads a faulty file",
        }
    }

    fn enter(&self, intent: &mut Intent) {
        let daemon = &mut intent.daemon;
        match self {
            Act::Kill | Act::Terminate => daemon.running = false,
            Act::Start | Act::Upgrade => (daemon.running, daemon.rejected) = (true, false),
            Act::Rival => {}
            Act::Reload(configuration) => {
                (daemon.configuration, daemon.rejected) = (*configuration, false);
            }
            Act::ReloadFaulty => daemon.rejected = true,
        }
    }

    fn perform(&self, site: &Site, intent: &Intent) -> Result<()> {
        let (daemon, configuration) = (&site.under_test, intent.daemon.configuration);
        match self {
            Act::Kill => daemon.end(true),
            Act::Terminate => daemon.end(false),
            Act::Start => {
                daemon.configure(configuration.text())?;
                daemon.start()
            }
            Act::Upgrade => {
                daemon.end(false)?;
                daemon.upgrade();
                daemon.configure(configuration.text())?;
                daemon.start()
            }
            Act::Rival => daemon.meet_a_rival().map(|complaint| site.complain(complaint)),
            Act::Reload(_) => {
                daemon.configure(configuration.text())?;
                daemon.reload()
            }
            Act::ReloadFaulty => {
                daemon.configure(Configuration::FAULTY)?;
                daemon.reload()
            }
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Reload(configuration) => write!(f, "{}: {configuration:?}", self.kind()),
            _ => f.write_str(self.kind()),
        }
    }
}
