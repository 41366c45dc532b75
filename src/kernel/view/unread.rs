//! The slices that could not be read, with the errors, and the times of their next tries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::slice::{Slice, take_out_of};

/// How long a slice waits for its next try.
const RETRY: Duration = Duration::from_secs(1);

/// The first wait of a guest's slice, which the guest itself may keep from being read. It doubles up to
/// [`RETRY`].
const RETRY_OF_GUEST: Duration = Duration::from_millis(20);

/// Number of tries of a guest's slice before it is reported.
const TRIES: u32 = 5;

/// The slices that could not be read.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Unread(BTreeMap<Slice, Failed>);

/// The last try to read a slice.
#[derive(Debug)]
struct Failed {
    why: String,
    /// The number of tries in a row.
    times: u32,
    /// The time of the next try. Events do not make it earlier if the slice is a guest's.
    again: Instant,
}

impl Unread {
    /// When a guest's slice may be tried again, if it may not be yet.
    pub(super) fn held_until(&self, slice: Slice, now: Instant) -> Option<Instant> {
        self.0.get(&slice).map(|failed| failed.again).filter(|again| *again > now)
    }

    /// A slice was read, and those that are read with it.
    pub(super) fn succeeded(&mut self, slice: Slice) {
        take_out_of(&mut self.0, slice);
    }

    /// A slice could not be read. Returns the time of the next try, and whether that is news for people.
    pub(super) fn failed(&mut self, slice: Slice, why: &str, now: Instant) -> (Instant, bool) {
        let before = self.0.remove(&slice);
        let times = before.as_ref().map_or(0, |before| before.times) + 1;
        let delay = match slice.namespace() {
            Some(_) => RETRY.min(RETRY_OF_GUEST * 2_u32.saturating_pow(times - 1)),
            None => RETRY,
        };
        let failed = Failed { why: why.to_owned(), times, again: now + delay };
        let again = failed.again;
        let known = before.is_some_and(|before| before.why == why && is_told(slice, &before));
        let news = is_told(slice, &failed) && !known;
        self.0.insert(slice, failed);
        (again, news)
    }

    /// The slices that could not be read although they should have been, with the errors.
    pub(in crate::kernel) fn problems(&self) -> impl Iterator<Item = &String> {
        let told = self.0.iter().filter(|(slice, failed)| is_told(**slice, failed));
        told.map(|(_, failed)| &failed.why)
    }

    /// The slices of the host that could not be read, with the errors.
    pub(in crate::kernel) fn problems_of_host(&self) -> impl Iterator<Item = (Slice, &String)> {
        let of_host = self.0.iter().filter(|(slice, _)| slice.namespace().is_none());
        of_host.map(|(slice, failed)| (*slice, &failed.why))
    }
}

/// Guests change their objects while these are read. That alone is not a host problem.
fn is_told(slice: Slice, failed: &Failed) -> bool {
    slice.namespace().is_none() || failed.times > TRIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetnsId;

    #[test]
    fn a_guest_that_keeps_failing_is_tried_less_and_less_often_and_reported_once() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        let slice = Slice::Namespace(NetnsId(1));
        let tries: Vec<_> = (0..8).map(|_| unread.failed(slice, "why", now)).collect();
        let waits: Vec<_> = tries.iter().map(|(again, _)| again.duration_since(now).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        let news: Vec<_> = tries.into_iter().map(|(_, news)| news).collect();
        assert_eq!(news, [false, false, false, false, false, true, false, false]);
        assert_eq!(unread.problems().count(), 1);
        unread.succeeded(slice);
        assert_eq!(unread.problems().count(), 0);
    }

    #[test]
    fn a_slice_of_the_host_is_reported_at_once() {
        let (mut unread, now) = (Unread::default(), Instant::now());
        assert!(unread.failed(Slice::Links, "why", now).1);
        assert!(!unread.failed(Slice::Links, "why", now).1);
        assert!(unread.failed(Slice::Links, "why not", now).1);
    }
}
