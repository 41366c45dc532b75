//! The pace at which a noisy guest is followed. It is charged for the time that its changes cost, and while
//! it has used up its budget it is read again only after a pause.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::NetnsId;

/// The time in which a namespace has its budget.
pub(super) const SPAN: Duration = Duration::from_secs(1);

/// How long reading and repairing the changes of one namespace may take in a span. It is a hundred times as
/// much as DHCP and SLAAC need, and little of a processor. With a thousand guests, where each decision takes
/// longest, the start of one guest takes half of it.
pub(super) const BUDGET: Duration = Duration::from_millis(50);

/// How long a namespace that has used up its budget waits.
const PAUSE: Duration = Duration::from_millis(100);

/// The budgets of the namespaces.
#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<NetnsId, Pace>);

/// How much of its budget a namespace has used up in this span.
#[derive(Debug)]
struct Pace {
    since: Instant,
    spent: Duration,
}

impl Paces {
    /// Until when a namespace has to wait; `None` if it may be read now.
    pub(super) fn held_until(&mut self, id: NetnsId, now: Instant) -> Option<Instant> {
        match self.0.get(&id) {
            Some(pace) if now.duration_since(pace.since) < SPAN => (pace.spent > BUDGET).then(|| now + PAUSE),
            _ => {
                self.0.insert(id, Pace { since: now, spent: Duration::ZERO });
                None
            }
        }
    }

    /// Charges a namespace with this time for its changes.
    pub(super) fn spent(&mut self, id: NetnsId, time: Duration) {
        if let Some(pace) = self.0.get_mut(&id) {
            pace.spent += time;
        }
    }

    /// A namespace is gone, and its id free for another.
    pub(super) fn forget(&mut self, id: NetnsId) {
        self.0.remove(&id);
    }
}
