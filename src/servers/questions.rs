//! What the rest of the program asks of one server, beside what it lists.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A guest of one server: its project and its name.
pub type GuestName = (String, String);

/// Shared by a follower and who listens to it.
#[derive(Debug, Default)]
pub struct Questions {
    pub(super) wake: Notify,
    first_processes: Mutex<BTreeSet<GuestName>>,
}

impl Questions {
    /// Looks at once: a macvlan child appeared that may be this server's. A server that is away is looked for, and a connected
    /// one is read again.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// From now on the first processes of these guests are told too. If there is one more than before, the server is
    /// read at once.
    pub fn ask_first_processes(&self, guests: BTreeSet<GuestName>) {
        let before = std::mem::replace(&mut *self.lock(), guests.clone());
        if !guests.is_subset(&before) {
            self.look();
        }
    }

    pub(super) fn first_processes(&self) -> BTreeSet<GuestName> {
        self.lock().clone()
    }

    /// What a thread that panicked has left is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<GuestName>> {
        self.first_processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
