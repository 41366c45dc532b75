//! Which slices of the snapshot are to be read again, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::slice::Slice;
use crate::model::NetnsId;

/// When a slice is tried again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The same for a slice of a guest, whose doing it may be, at first; each time twice as long.
const RETRY_OF_GUEST: Duration = Duration::from_millis(20);

/// So often such a slice is tried again before anybody is told.
const TRIES: u32 = 5;

/// How often a slice is read again because events were lost, which may be without end.
const LOSSES: Duration = Duration::from_millis(250);

/// Which slices are to be read again, and when.
#[derive(Debug, Default)]
pub(super) struct Marks {
    now: BTreeSet<Slice>,
    /// Read when nothing else is to be done: no event asks for it.
    sweep: BTreeSet<Slice>,
    /// The last of those that was read.
    swept: Option<Slice>,
    later: BTreeMap<Slice, Instant>,
    /// When they were to be read last because events were lost.
    lost: BTreeMap<Slice, Instant>,
    /// Read while events were still queued, which may be older than what was read.
    unsure: BTreeSet<Slice>,
    paces: BTreeMap<NetnsId, Pace>,
    failures: BTreeMap<Slice, Failure>,
}

/// A slice could not be read, the last time that it was tried.
#[derive(Debug)]
struct Failure {
    why: String,
    /// How often in a row.
    times: u32,
    /// Not before, though an event asks for it, if it is a guest's.
    again: Instant,
}

/// How long it took to read again, and to put right, what one namespace changed in this second.
#[derive(Debug)]
struct Pace {
    since: Instant,
    spent: Duration,
}

impl Marks {
    /// To be read again at once.
    pub(super) fn mark(&mut self, slice: Slice) {
        self.now.insert(slice);
    }

    /// Whether it is to be read again at once.
    pub(super) fn is_marked(&self, slice: Slice) -> bool {
        self.now.contains(&slice)
    }

    /// The objects of the host are to be read again at once.
    pub(super) fn mark_host(&mut self) {
        self.now.extend(Slice::OF_HOST);
    }

    /// Everything is to be read again: the host at once, and with it the list of namespaces, each of which follows bit
    /// by bit.
    pub(super) fn mark_everything(&mut self) {
        self.mark_host();
        self.now.extend([Slice::Filter, Slice::Namespaces, Slice::Homes]);
    }

    /// Events that tell of these slices were lost: they are to be read again, at once or after a pause since the last loss.
    /// Says whether at once.
    pub(super) fn lost(&mut self, slices: &[Slice]) -> bool {
        let now = Instant::now();
        let mut any = false;
        for slice in slices {
            let then = self.lost.get(slice).map_or(now, |last| *last + LOSSES);
            if then <= now {
                any = true;
                self.lost.insert(*slice, now);
                self.mark(*slice);
            } else {
                let due = self.later.entry(*slice).or_insert(then);
                *due = then.min(*due);
            }
        }
        any
    }

    /// To be read again bit by bit, without keeping anything else waiting.
    pub(super) fn sweep(&mut self, slice: Slice) {
        self.sweep.insert(slice);
    }

    /// To be read again after a while, together with all that happens until then.
    pub(super) fn defer(&mut self, slice: Slice, delay: Duration) {
        self.defer_until(slice, Instant::now() + delay);
    }

    fn defer_until(&mut self, slice: Slice, then: Instant) {
        self.later.entry(slice).or_insert(then);
    }

    /// An event of that slice was taken in. If the slice was read while events were queued, the event may
    /// be the older of the two: read again.
    pub(super) fn touched(&mut self, slice: Slice) {
        if self.unsure.contains(&slice) {
            self.now.insert(slice);
        }
    }

    /// Nothing is queued: what was read is newer than every event taken in.
    pub(super) fn caught_up(&mut self) {
        self.unsure.clear();
    }

    /// The next slice to be read, which counts as read from now on.
    pub(super) fn take(&mut self) -> Option<Slice> {
        while let Some(slice) = self.now.pop_first() {
            match self.held_until(slice) {
                Some(then) => self.defer_until(slice, then),
                None => return Some(self.taken(slice)),
            }
        }
        None
    }

    /// The next slice of those that can wait. They take turns: a sweep that begins anew before it came to its end, as
    /// where events are lost again and again, goes on where it was.
    pub(super) fn take_sweep(&mut self) -> Option<Slice> {
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
        take_from(&mut self.now, slice);
        take_from(&mut self.sweep, slice);
        take_out_of(&mut self.later, slice);
        self.unsure.insert(slice);
        slice
    }

    /// A guest may change what it has as fast as it can, and have as much as it likes; we follow at our own pace.
    fn held_until(&mut self, slice: Slice) -> Option<Instant> {
        let (id, now) = (slice.namespace()?, Instant::now());
        if let Some(failure) = self.failures.get(&slice).filter(|failure| failure.again > now) {
            return Some(failure.again);
        }
        match self.paces.get_mut(&id) {
            Some(pace) if now.duration_since(pace.since) < Pace::SPAN => {
                (pace.spent > Pace::BUDGET).then(|| now + Pace::PAUSE)
            }
            _ => {
                self.paces.insert(id, Pace { since: now, spent: Duration::ZERO });
                None
            }
        }
    }

    /// What a namespace changed took so long.
    pub(super) fn spent(&mut self, id: NetnsId, time: Duration) {
        if let Some(pace) = self.paces.get_mut(&id) {
            pace.spent += time;
        }
    }

    /// Moves what is due to what is to be read at once.
    pub(super) fn wake(&mut self) {
        if self.later.is_empty() {
            return;
        }
        let now = Instant::now();
        let due: Vec<Slice> =
            self.later.iter().filter(|(_, at)| **at <= now).map(|(slice, _)| *slice).collect();
        for slice in due {
            self.later.remove(&slice);
            self.lost.entry(slice).and_modify(|last| *last = now);
            self.now.insert(slice);
        }
    }

    /// When the first deferred slice is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    /// Whether something is to be read at once.
    pub(super) fn pending(&self) -> bool {
        !self.now.is_empty() || !self.sweep.is_empty()
    }

    /// A slice was read.
    pub(super) fn succeeded(&mut self, slice: Slice) {
        take_out_of(&mut self.failures, slice);
    }

    /// A slice could not be read: try again soon. Says whether that is news for people.
    pub(super) fn failed(&mut self, slice: Slice, why: &str) -> bool {
        let before = self.failures.remove(&slice);
        let times = before.as_ref().map_or(0, |before| before.times) + 1;
        let delay = match slice.namespace() {
            Some(_) => RETRY.min(RETRY_OF_GUEST * 2_u32.saturating_pow(times - 1)),
            None => RETRY,
        };
        let failure = Failure { why: why.to_owned(), times, again: Instant::now() + delay };
        self.defer_until(slice, failure.again);
        let known = before.is_some_and(|before| before.why == why && is_told(slice, &before));
        let news = is_told(slice, &failure) && !known;
        self.failures.insert(slice, failure);
        news
    }

    /// Why slices could not be read that should have been.
    pub(super) fn problems(&self) -> impl Iterator<Item = &String> {
        self.failures
            .iter()
            .filter(|(slice, failure)| is_told(**slice, failure))
            .map(|(_, failure)| &failure.why)
    }

    /// The slices of the host that could not be read, and why.
    pub(super) fn problems_of_host(&self) -> impl Iterator<Item = (Slice, &String)> {
        let of_host = self.failures.iter().filter(|(slice, _)| slice.namespace().is_none());
        of_host.map(|(slice, failure)| (*slice, &failure.why))
    }

    /// A namespace is gone, and its id free for another.
    pub(super) fn forget(&mut self, id: NetnsId) {
        let whole = Slice::Namespace(id);
        for slices in [&mut self.now, &mut self.sweep, &mut self.unsure] {
            take_from(slices, whole);
        }
        take_out_of(&mut self.later, whole);
        take_out_of(&mut self.failures, whole);
        self.paces.remove(&id);
    }
}

/// Takes away a slice and those that are read with it, without a look at any other: there may be thousands.
fn take_from(slices: &mut BTreeSet<Slice>, slice: Slice) {
    for range in slice.covers() {
        while let Some(covered) = slices.range(range.clone()).next().copied() {
            slices.remove(&covered);
        }
    }
}

fn take_out_of<T>(slices: &mut BTreeMap<Slice, T>, slice: Slice) {
    for range in slice.covers() {
        while let Some(covered) = slices.range(range.clone()).next().map(|(covered, _)| *covered) {
            slices.remove(&covered);
        }
    }
}

/// A guest whose lists change while they are read is no trouble of the host yet.
fn is_told(slice: Slice, failure: &Failure) -> bool {
    slice.namespace().is_none() || failure.times > TRIES
}

impl Pace {
    const SPAN: Duration = Duration::from_secs(1);
    /// A hundred times what DHCP and SLAAC ask for, and little of a processor. Where a thousand guests make each decision
    /// dear, the start of one takes half of it.
    const BUDGET: Duration = Duration::from_millis(50);
    const PAUSE: Duration = Duration::from_millis(100);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, LinkIndex};

    fn taken(marks: &mut Marks) -> Vec<Slice> {
        std::iter::from_fn(|| marks.take()).collect()
    }

    #[test]
    fn a_slice_is_read_once_and_not_again_with_the_whole_that_it_belongs_to() {
        let mut marks = Marks::default();
        for slice in [
            Slice::ChildAddresses(NetnsId(1), LinkIndex(5), Family::V4),
            Slice::Child(NetnsId(1), LinkIndex(5)),
            Slice::ChildAddresses(NetnsId(2), LinkIndex(5), Family::V6),
            Slice::Namespace(NetnsId(2)),
            Slice::Links,
            Slice::Links,
        ] {
            marks.mark(slice);
        }
        assert_eq!(
            taken(&mut marks),
            [Slice::Links, Slice::Namespace(NetnsId(2)), Slice::Child(NetnsId(1), LinkIndex(5))]
        );
    }

    #[test]
    fn an_event_that_may_be_older_than_the_last_reading_asks_for_another() {
        let mut marks = Marks::default();
        marks.touched(Slice::Routes);
        assert!(!marks.pending());
        marks.mark(Slice::Routes);
        assert_eq!(taken(&mut marks), [Slice::Routes]);
        marks.touched(Slice::Routes);
        assert_eq!(taken(&mut marks), [Slice::Routes]);
        marks.caught_up();
        marks.touched(Slice::Routes);
        assert!(!marks.pending());
    }

    #[test]
    fn losses_without_end_are_made_up_for_at_a_pace_and_the_last_is_not_forgotten() {
        let mut marks = Marks::default();
        let told = [Slice::Links, Slice::Namespaces];
        assert!(marks.lost(&told));
        assert_eq!(taken(&mut marks), told);
        let (start, mut times) = (Instant::now(), 0);
        while start.elapsed() < 2 * LOSSES + LOSSES / 2 || times == 0 {
            marks.lost(&told);
            marks.wake();
            times += taken(&mut marks).len() as u32;
        }
        // This may have had to wait for its turn.
        let at_most = told.len() as u32 * (1 + start.elapsed().as_millis() / LOSSES.as_millis()) as u32;
        assert!((2..=at_most).contains(&times), "{times} times, not at most {at_most}");
        // This was the last one. Others may wait longer for a slice, but not those who lost something of it.
        marks.defer(Slice::Links, RETRY);
        marks.lost(&told);
        assert!(marks.pending() || marks.due().is_some_and(|due| due <= Instant::now() + LOSSES));
        std::thread::sleep(LOSSES);
        marks.wake();
        assert_eq!(taken(&mut marks), told);
        assert!(!marks.pending() && marks.due().is_none());
    }

    #[test]
    fn a_busy_guest_is_put_off_and_the_others_are_not() {
        let mut marks = Marks::default();
        let busy = Slice::ChildAddresses(NetnsId(1), LinkIndex(5), Family::V4);
        marks.mark(busy);
        assert_eq!(taken(&mut marks), [busy]);
        marks.spent(NetnsId(1), Pace::BUDGET * 2);
        marks.mark(busy);
        marks.mark(Slice::ChildAddresses(NetnsId(2), LinkIndex(5), Family::V6));
        assert_eq!(taken(&mut marks), [Slice::ChildAddresses(NetnsId(2), LinkIndex(5), Family::V6)]);
        assert!(marks.due().is_some() && !marks.pending());
        std::thread::sleep(Pace::SPAN);
        marks.wake();
        assert_eq!(taken(&mut marks), [busy]);
    }

    #[test]
    fn a_busy_namespace_is_put_off_in_whole_and_in_a_sweep() {
        let mut marks = Marks::default();
        let busy = Slice::Namespace(NetnsId(1));
        marks.mark(busy);
        assert_eq!(taken(&mut marks), [busy]);
        marks.spent(NetnsId(1), Pace::BUDGET * 2);
        marks.mark(busy);
        (1..=2).for_each(|id| marks.sweep(Slice::Namespace(NetnsId(id))));
        assert!(marks.take().is_none());
        assert_eq!(marks.take_sweep(), Some(Slice::Namespace(NetnsId(2))));
        assert_eq!(marks.take_sweep(), None);
        assert!(marks.due().is_some() && !marks.pending());
    }

    #[test]
    fn a_guest_that_keeps_failing_is_tried_less_and_less_often_and_told_once() {
        let mut marks = Marks::default();
        let slice = Slice::ChildAddresses(NetnsId(1), LinkIndex(5), Family::V4);
        let mut news = Vec::new();
        for time in 0..8 {
            let start = Instant::now();
            news.push(marks.failed(slice, "why"));
            let soonest = start + RETRY.min(RETRY_OF_GUEST * 2_u32.pow(time));
            assert!(marks.due().is_some_and(|due| due >= soonest && due <= Instant::now() + RETRY));
            // An event does not make it sooner.
            marks.failures.get_mut(&slice).unwrap().again += RETRY;
            marks.mark(slice);
            assert!(marks.take().is_none());
            marks.later.clear();
        }
        assert_eq!(news, [false, false, false, false, false, true, false, false]);
        assert_eq!(marks.problems().count(), 1);
        marks.succeeded(slice);
        assert_eq!(marks.problems().count(), 0);
        // The host's are tried again whenever there is reason to, and told at once.
        assert!(marks.failed(Slice::Links, "why") && !marks.failed(Slice::Links, "why"));
        marks.mark(Slice::Links);
        assert_eq!(taken(&mut marks), [Slice::Links]);
    }

    #[test]
    fn a_sweep_that_begins_anew_goes_on_where_it_was() {
        let mut marks = Marks::default();
        let mut swept = Vec::new();
        for _ in 0..4 {
            (1..=5).for_each(|id| marks.sweep(Slice::Namespace(NetnsId(id))));
            swept.extend([marks.take_sweep(), marks.take_sweep()].into_iter().flatten());
        }
        let ids: Vec<_> = swept.into_iter().filter_map(Slice::namespace).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 1, 2, 3].map(NetnsId));
        while marks.take_sweep().is_some() {}
        assert!(!marks.pending());
    }

    #[test]
    fn a_namespace_that_is_gone_leaves_nothing_to_do() {
        let mut marks = Marks::default();
        marks.failed(Slice::Namespace(NetnsId(1)), "why");
        marks.mark(Slice::Child(NetnsId(1), LinkIndex(5)));
        marks.forget(NetnsId(1));
        assert!(!marks.pending() && marks.due().is_none() && marks.problems().next().is_none());
    }
}
