//! Compares each report with the one before: since when is everything as it is, and what has changed?

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::history::EventHistory;
use super::log_fields::READY;
use crate::model::NicKey;
use crate::model::history::StateOf;
use crate::model::status::{AddressState, NicStatus};
use crate::report::{Report, compare, started};

/// How long a daemon that does not get ready takes everything for the state that it has found.
const SETTLING: Duration = Duration::from_secs(10);

/// The last report, and the history.
#[derive(Debug)]
pub(super) struct Chronicle {
    history: EventHistory,
    last: Arc<Report>,
    /// When it began to note changes.
    stage: Stage,
}

/// A daemon that starts finds guests one by one that were there before. That is no change.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// It takes in what is there, at most until then.
    Settling(Instant),
    /// It notes changes.
    Noting,
}

impl Chronicle {
    /// A chronicle that begins to settle now.
    pub(super) fn new(history: EventHistory, now: Instant) -> Chronicle {
        Chronicle { history, last: Arc::default(), stage: Stage::Settling(now + SETTLING) }
    }

    /// The last report.
    pub(super) fn last(&self) -> &Report {
        &self.last
    }

    /// The NIC that had this address routed when the last report was made.
    pub(super) fn had(&self, address: IpAddr) -> Option<NicKey> {
        let nics =
            self.last.status.guests.iter().flat_map(|guest| guest.nics.iter().map(move |nic| (guest, nic)));
        let has = |nic: &NicStatus| {
            nic.addresses.iter().any(|its| its.address == address && its.state == AddressState::Routed)
        };
        let (guest, nic) = nics.into_iter().find(|(_, nic)| has(nic))?;
        Some(NicKey { guest: guest.key(), nic: nic.name.clone() })
    }

    /// Takes in a report, notes the changes, and returns the report with the times of all states.
    pub(super) fn take_in(&mut self, mut report: Report, now: Instant) -> Arc<Report> {
        let (status, next) = (&mut report.status, self.history.next());
        let changes = match self.stage {
            Stage::Settling(until) if !status.ready && now < until => Vec::new(),
            Stage::Settling(_) => {
                self.stage = Stage::Noting;
                vec![started(status, next)]
            }
            Stage::Noting => compare(&self.last.status, status, next),
        };
        for change in &changes {
            match change.of {
                StateOf::Daemon => tracing::info!(message_id = READY, "{change}"),
                // Operations, servers and problems have lines of their own.
                _ => tracing::debug!("{change}"),
            }
        }
        self.history.take_in(changes);
        self.last = Arc::new(report);
        Arc::clone(&self.last)
    }
}
