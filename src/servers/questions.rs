//! The questions of the rest of the program to one server, besides its listings, and the numbers that its
//! follower counts.

use smol_str::SmolStr;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::tally::ServerTally;

/// A guest of one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestName {
    /// Its project.
    pub project: SmolStr,
    /// Its name, unique in the project.
    pub name: SmolStr,
}

/// Shared by a follower and its listeners.
#[derive(Debug, Default)]
pub struct Questions {
    pub(super) wake: Notify,
    tally: Mutex<ServerTally>,
    first_processes: Mutex<BTreeSet<GuestName>>,
}

impl Questions {
    /// Look at once, because a macvlan child has appeared that may belong to this server. A server that is
    /// away is looked for, and a connected server is listed again.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// From now on, report the first processes of these guests too. If one of them is new, the server is
    /// listed at once.
    pub fn ask_first_processes(&self, guests: BTreeSet<GuestName>) {
        let mut asked = lock(&self.first_processes);
        let is_new = !guests.is_subset(&asked);
        *asked = guests;
        if is_new {
            self.look();
        }
    }

    pub(super) fn first_processes(&self) -> BTreeSet<GuestName> {
        lock(&self.first_processes).clone()
    }

    /// The numbers that the follower has counted since it began.
    pub fn tally(&self) -> ServerTally {
        *lock(&self.tally)
    }

    /// Changes a number.
    pub(super) fn count(&self, change: impl FnOnce(&mut ServerTally)) {
        change(&mut lock(&self.tally));
    }
}

/// A panic of another thread leaves the value whole.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
