//! The last changes of states, for everybody who asks. Everybody reads the same ring at their own speed, so a
//! slow reader costs nothing, and misses the changes that are no longer there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::history::{StateChange, StateOf};
use crate::model::{GuestKey, Timestamp};

/// Maximum number of changes that are kept.
pub const CHANGES: usize = 1024;

/// The loop's end: takes in changes.
#[derive(Debug)]
pub struct EventHistory {
    ring: Arc<Mutex<Ring>>,
    last: watch::Sender<u64>,
}

/// The readers' end.
#[derive(Clone, Debug)]
pub struct HistoryReader {
    ring: Arc<Mutex<Ring>>,
    last: watch::Receiver<u64>,
}

/// The changes, the oldest first.
#[derive(Debug, Default)]
struct Ring(VecDeque<Arc<StateChange>>);

/// A history without any change, and a reader of it.
pub fn channel() -> (EventHistory, HistoryReader) {
    let ring = Arc::<Mutex<Ring>>::default();
    let (sender, last) = watch::channel(0);
    (EventHistory { ring: Arc::clone(&ring), last: sender }, HistoryReader { ring, last })
}

impl EventHistory {
    /// The number of the next change. The first is 1.
    pub fn next(&self) -> u64 {
        *self.last.borrow() + 1
    }

    /// Takes in changes whose numbers follow the last one.
    pub fn take_in(&mut self, changes: Vec<StateChange>) {
        let Some(last) = changes.last().map(|change| change.id) else { return };
        {
            let mut ring = locked(&self.ring);
            for change in changes {
                ring.push(change);
            }
        }
        self.last.send_replace(last);
    }
}

impl HistoryReader {
    /// The changes after that number, the oldest first.
    pub fn after(&self, id: u64) -> Vec<Arc<StateChange>> {
        let ring = locked(&self.ring);
        let from = ring.0.partition_point(|change| change.id <= id);
        ring.0.range(from..).cloned().collect()
    }

    /// The changes from that time on, the oldest first. If the clock was set back, there may be too many.
    pub fn since(&self, time: Timestamp) -> Vec<Arc<StateChange>> {
        let ring = locked(&self.ring);
        let from = ring.0.iter().position(|change| change.time >= time).unwrap_or(ring.0.len());
        ring.0.range(from..).cloned().collect()
    }

    /// The number of the last change.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Waits until there is a change after that number. `false` if there will be none, because the loop has
    /// ended.
    pub async fn wait(&mut self, id: u64) -> bool {
        self.last.wait_for(|last| *last > id).await.is_ok()
    }
}

impl Ring {
    /// Adds a change. If there are too many, the oldest one goes of whoever has most, so that a guest that
    /// changes all the time does not take away the history of others.
    fn push(&mut self, change: StateChange) {
        self.0.push_back(Arc::new(change));
        if self.0.len() <= CHANGES {
            return;
        }
        let mut counts: BTreeMap<Share<'_>, usize> = BTreeMap::new();
        for change in &self.0 {
            *counts.entry(Share::of(change)).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(share, _)| share);
        let oldest = self.0.iter().position(|change| Some(Share::of(change)) == most);
        self.0.remove(oldest.unwrap_or_default());
    }
}

/// Whose share of the ring a change takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share<'a> {
    Guest(&'a GuestKey),
    /// Guests can make problems of many objects.
    Problems,
    Host,
}

impl Share<'_> {
    fn of(change: &StateChange) -> Share<'_> {
        match &change.of {
            StateOf::Nic { guest, .. } | StateOf::Address { guest, .. } => Share::Guest(guest),
            StateOf::Problem { .. } => Share::Problems,
            _ => Share::Host,
        }
    }
}

fn locked(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerId;

    fn change(id: u64, of: StateOf) -> StateChange {
        let time = Timestamp::from(std::time::UNIX_EPOCH + std::time::Duration::from_secs(id));
        StateChange { id, time, of, from: None, to: Some("up".into()), reason: None, message: None }
    }

    fn nic(guest: &str) -> StateOf {
        let guest = GuestKey::new(ServerId("lxd".into()), "default".into(), guest.into());
        StateOf::Nic { guest, nic: "eth0".into() }
    }

    fn ids(changes: &[Arc<StateChange>]) -> Vec<u64> {
        changes.iter().map(|change| change.id).collect()
    }

    #[tokio::test]
    async fn readers_go_on_where_they_were() {
        let (mut history, mut reader) = channel();
        history.take_in(vec![change(1, StateOf::Daemon), change(2, nic("web"))]);
        assert!(reader.wait(0).await);
        assert_eq!(ids(&reader.after(0)), [1, 2]);
        assert_eq!(ids(&reader.after(2)), [0; 0]);
        let second_two = change(2, StateOf::Daemon).time;
        assert_eq!(ids(&reader.since(second_two)), [2]);
        history.take_in(vec![change(3, nic("web"))]);
        assert!(reader.wait(2).await);
        assert_eq!(ids(&reader.after(2)), [3]);
        drop(history);
        assert!(!reader.wait(3).await, "there will be no more");
    }

    #[test]
    fn a_guest_that_changes_all_the_time_takes_away_its_own_history() {
        let (mut history, reader) = channel();
        let quiet = [change(1, StateOf::Daemon), change(2, nic("quiet"))];
        history.take_in(quiet.to_vec());
        let noisy = (3..5000).map(|id| change(id, nic("noisy")));
        history.take_in(noisy.collect());
        let kept = reader.after(0);
        assert_eq!(kept.len(), CHANGES);
        assert_eq!(ids(&kept)[..3], [1, 2, 5000 - (CHANGES as u64 - 2)]);
    }
}
