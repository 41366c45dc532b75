//! The slices of the snapshot that are stale, and when each is to be read again.
//!
//! The time is passed in ([`Stale::tick`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::pace::Paces;
use super::slice::{Slice, take_from, take_out_of};
use super::unread::Unread;
use crate::model::NetnsId;

/// The minimum pause between two readings of a slice because events were lost. Losses may go on without end.
const LOSSES: Duration = Duration::from_millis(250);

/// The stale slices, and when each is to be read again.
#[derive(Debug)]
pub(in crate::kernel) struct Stale {
    now: Instant,
    at_once: BTreeSet<Slice>,
    /// Read when nothing else is to be done, because no event asks for it.
    sweep: BTreeSet<Slice>,
    /// The slice of the sweep that was read last.
    swept: Option<Slice>,
    later: BTreeMap<Slice, Instant>,
    /// When each slice was last made stale by a loss of events.
    lost: BTreeMap<Slice, Instant>,
    /// Slices that were read while events were still queued. Those events may be older than the reading.
    unsure: BTreeSet<Slice>,
    paces: Paces,
    unread: Unread,
}

impl Stale {
    /// Nothing is stale.
    pub(in crate::kernel) fn new(now: Instant) -> Stale {
        Stale {
            now,
            at_once: BTreeSet::new(),
            sweep: BTreeSet::new(),
            swept: None,
            later: BTreeMap::new(),
            lost: BTreeMap::new(),
            unsure: BTreeSet::new(),
            paces: Paces::default(),
            unread: Unread::default(),
        }
    }

    /// Sets the time, which stands still in between.
    pub(in crate::kernel) fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    /// The time.
    pub(in crate::kernel) fn now(&self) -> Instant {
        self.now
    }

    /// The slice is to be read again at once.
    pub(in crate::kernel) fn add(&mut self, slice: Slice) {
        self.at_once.insert(slice);
    }

    /// The objects of the host are to be read again at once.
    pub(in crate::kernel) fn add_host(&mut self) {
        self.at_once.extend(Slice::OF_HOST);
    }

    /// Everything is to be read again: the host at once, and with it the list of namespaces, each of which
    /// follows bit by bit.
    pub(in crate::kernel) fn add_everything(&mut self) {
        self.add_host();
        self.at_once.extend([Slice::Filter, Slice::Namespaces, Slice::Homes]);
    }

    /// Events about these slices were lost. They are to be read again, at once or after a pause since the
    /// last loss. Returns whether at once.
    pub(in crate::kernel) fn add_lost(&mut self, slices: &[Slice]) -> bool {
        let now = self.now;
        let mut any = false;
        for slice in slices {
            let then = self.lost.get(slice).map_or(now, |last| *last + LOSSES);
            if then <= now {
                any = true;
                self.lost.insert(*slice, now);
                self.add(*slice);
            } else {
                let due = self.later.entry(*slice).or_insert(then);
                *due = then.min(*due);
            }
        }
        any
    }

    /// The slice is to be read again bit by bit, without keeping anything else waiting.
    pub(in crate::kernel) fn sweep(&mut self, slice: Slice) {
        self.sweep.insert(slice);
    }

    /// The slice is to be read again after a while, together with all changes until then.
    pub(in crate::kernel) fn defer(&mut self, slice: Slice, delay: Duration) {
        self.defer_until(slice, self.now + delay);
    }

    fn defer_until(&mut self, slice: Slice, then: Instant) {
        self.later.entry(slice).or_insert(then);
    }

    /// The slice was deferred, and that is no longer needed.
    pub(in crate::kernel) fn take_back(&mut self, slice: Slice) {
        self.later.remove(&slice);
    }

    /// An event of that slice was taken in. If the slice was read while events were queued, the event may be
    /// older than the reading, so it is read again.
    pub(in crate::kernel) fn touched(&mut self, slice: Slice) {
        if self.unsure.contains(&slice) {
            self.at_once.insert(slice);
        }
    }

    /// No event is queued, so everything that was read is newer than every event taken in.
    pub(in crate::kernel) fn caught_up(&mut self) {
        self.unsure.clear();
    }

    /// The next slice to be read, which counts as read from now on.
    pub(in crate::kernel) fn take(&mut self) -> Option<Slice> {
        while let Some(slice) = self.at_once.pop_first() {
            match self.held_until(slice) {
                Some(then) => self.defer_until(slice, then),
                None => return Some(self.taken(slice)),
            }
        }
        None
    }

    /// The next slice of the sweep. Slices take turns: a sweep that is started again before its end, as when
    /// events are lost again and again, continues where it was.
    pub(in crate::kernel) fn take_sweep(&mut self) -> Option<Slice> {
        while !self.sweep.is_empty() {
            let after = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.sweep.range((after, Bound::Unbounded)).next().or_else(|| self.sweep.first());
            self.swept = next.copied();
            let slice = self.swept?;
            match self.held_until(slice) {
                Some(then) => {
                    self.sweep.remove(&slice);
                    self.defer_until(slice, then);
                }
                None => return Some(self.taken(slice)),
            }
        }
        None
    }

    fn taken(&mut self, slice: Slice) -> Slice {
        take_from(&mut self.at_once, slice);
        take_from(&mut self.sweep, slice);
        take_out_of(&mut self.later, slice);
        self.unsure.insert(slice);
        slice
    }

    fn held_until(&mut self, slice: Slice) -> Option<Instant> {
        let id = slice.namespace()?;
        self.unread.held_until(slice, self.now).or_else(|| self.paces.held_until(id, self.now))
    }

    /// Charges a namespace with this time for reading and repairing its changes.
    pub(in crate::kernel) fn spent(&mut self, id: NetnsId, time: Duration) {
        self.paces.spent(id, time);
    }

    /// The slices that are due are to be read at once.
    pub(in crate::kernel) fn wake(&mut self) {
        if self.later.is_empty() {
            return;
        }
        let now = self.now;
        let due: Vec<Slice> =
            self.later.iter().filter(|(_, at)| **at <= now).map(|(slice, _)| *slice).collect();
        for slice in due {
            self.later.remove(&slice);
            self.lost.entry(slice).and_modify(|last| *last = now);
            self.at_once.insert(slice);
        }
    }

    /// When the first deferred slice is due.
    pub(in crate::kernel) fn due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    /// Whether a slice is to be read at once.
    pub(in crate::kernel) fn pending(&self) -> bool {
        !self.at_once.is_empty() || !self.sweep.is_empty()
    }

    /// A slice was read.
    pub(in crate::kernel) fn succeeded(&mut self, slice: Slice) {
        self.unread.succeeded(slice);
    }

    /// A slice could not be read, and is read again soon. Returns whether that is news for people.
    pub(in crate::kernel) fn failed(&mut self, slice: Slice, why: &str) -> bool {
        let (again, news) = self.unread.failed(slice, why, self.now);
        self.defer_until(slice, again);
        news
    }

    /// The slices that could not be read.
    pub(in crate::kernel) fn unread(&self) -> &Unread {
        &self.unread
    }

    /// A namespace is gone, and its id free for another.
    pub(in crate::kernel) fn forget(&mut self, id: NetnsId) {
        let whole = Slice::Namespace(id);
        for slices in [&mut self.at_once, &mut self.sweep, &mut self.unsure] {
            take_from(slices, whole);
        }
        take_out_of(&mut self.later, whole);
        self.unread.succeeded(whole);
        self.paces.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pace::{BUDGET, SPAN};
    use super::*;
    use crate::model::{Family, LinkIndex};

    fn addresses(id: i32, family: Family) -> Slice {
        Slice::ChildAddresses(NetnsId(id), LinkIndex(5), family)
    }

    fn namespace(id: i32) -> Slice {
        Slice::Namespace(NetnsId(id))
    }

    fn nothing() -> Stale {
        Stale::new(Instant::now())
    }

    fn taken(stale: &mut Stale) -> Vec<Slice> {
        std::iter::from_fn(|| stale.take()).collect()
    }

    fn pass(stale: &mut Stale, time: Duration) {
        stale.tick(stale.now + time);
        stale.wake();
    }

    #[test]
    fn a_slice_is_read_once_and_not_again_with_the_whole_that_it_belongs_to() {
        let mut stale = nothing();
        let child = Slice::Child(NetnsId(1), LinkIndex(5));
        for slice in [
            addresses(1, Family::V4),
            child,
            addresses(2, Family::V6),
            namespace(2),
            Slice::Links,
            Slice::Links,
        ] {
            stale.add(slice);
        }
        assert_eq!(taken(&mut stale), [Slice::Links, namespace(2), child]);
    }

    #[test]
    fn an_event_that_may_be_older_than_the_last_reading_asks_for_another() {
        let mut stale = nothing();
        stale.touched(Slice::Routes);
        assert!(!stale.pending());
        stale.add(Slice::Routes);
        assert_eq!(taken(&mut stale), [Slice::Routes]);
        stale.touched(Slice::Routes);
        assert_eq!(taken(&mut stale), [Slice::Routes]);
        stale.caught_up();
        stale.touched(Slice::Routes);
        assert!(!stale.pending());
    }

    #[test]
    fn endless_losses_are_made_up_for_at_a_pace_and_the_last_is_not_forgotten() {
        let mut stale = nothing();
        let told = [Slice::Links, Slice::Namespaces];
        assert!(stale.add_lost(&told));
        assert_eq!(taken(&mut stale), told);
        let times: usize = (0..100)
            .map(|_| {
                stale.add_lost(&told);
                pass(&mut stale, LOSSES / 40);
                taken(&mut stale).len()
            })
            .sum();
        assert_eq!(times, 2 * told.len(), "in two and a half pauses");
        // This was the last loss. Others may wait longer for a slice, but not those that lost some of its
        // events.
        stale.defer(Slice::Links, LOSSES * 4);
        stale.add_lost(&told);
        assert!(stale.due().is_some_and(|due| due <= stale.now + LOSSES));
        pass(&mut stale, LOSSES);
        assert_eq!(taken(&mut stale), told);
        assert!(!stale.pending() && stale.due().is_none());
    }

    #[test]
    fn a_busy_guest_is_put_off_and_the_others_are_not() {
        let mut stale = nothing();
        let busy = addresses(1, Family::V4);
        stale.add(busy);
        assert_eq!(taken(&mut stale), [busy]);
        stale.spent(NetnsId(1), BUDGET * 2);
        stale.add(busy);
        stale.add(addresses(2, Family::V6));
        assert_eq!(taken(&mut stale), [addresses(2, Family::V6)]);
        assert!(stale.due().is_some() && !stale.pending());
        pass(&mut stale, SPAN);
        assert_eq!(taken(&mut stale), [busy]);
    }

    #[test]
    fn a_busy_namespace_is_put_off_in_whole_and_in_a_sweep() {
        let mut stale = nothing();
        let busy = namespace(1);
        stale.add(busy);
        assert_eq!(taken(&mut stale), [busy]);
        stale.spent(NetnsId(1), BUDGET * 2);
        stale.add(busy);
        (1..=2).for_each(|id| stale.sweep(namespace(id)));
        assert!(stale.take().is_none());
        assert_eq!(stale.take_sweep(), Some(namespace(2)));
        assert_eq!(stale.take_sweep(), None);
        assert!(stale.due().is_some() && !stale.pending());
    }

    #[test]
    fn an_event_does_not_have_a_guests_slice_read_before_its_retry_is_due() {
        let mut stale = nothing();
        let slice = addresses(1, Family::V4);
        stale.failed(slice, "why");
        stale.add(slice);
        assert!(stale.take().is_none());
        let due = stale.due().unwrap();
        stale.tick(due);
        stale.wake();
        assert_eq!(taken(&mut stale), [slice]);
        // Slices of the host are read again whenever there is a reason.
        stale.failed(Slice::Links, "why");
        stale.add(Slice::Links);
        assert_eq!(taken(&mut stale), [Slice::Links]);
    }

    #[test]
    fn a_sweep_that_is_started_again_goes_on_where_it_was() {
        let mut stale = nothing();
        let mut swept = Vec::new();
        for _ in 0..4 {
            (1..=5).for_each(|id| stale.sweep(namespace(id)));
            swept.extend([stale.take_sweep(), stale.take_sweep()].into_iter().flatten());
        }
        assert_eq!(swept, [1, 2, 3, 4, 5, 1, 2, 3].map(namespace));
        while stale.take_sweep().is_some() {}
        assert!(!stale.pending());
    }

    #[test]
    fn a_namespace_that_is_gone_leaves_nothing_to_do() {
        let mut stale = nothing();
        stale.failed(namespace(1), "why");
        stale.add(Slice::Child(NetnsId(1), LinkIndex(5)));
        stale.forget(NetnsId(1));
        assert!(!stale.pending() && stale.due().is_none() && stale.unread().problems().next().is_none());
    }
}
