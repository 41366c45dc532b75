//! When to read a server again. Pure: the time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::patience::{Patience, jittered};

/// The times of the next readings.
pub(super) struct Timetable {
    spacing: Duration,
    looks: Duration,
    delays: [Duration; 3],
    resync: Duration,
    resync_of_parts: Duration,
    /// Read again as soon as the last reading is long enough ago.
    wanted: bool,
    follow_ups: [Option<Instant>; 3],
    next_resync: Instant,
    /// No reading begins before this.
    not_before: Instant,
    started: Instant,
}

impl Timetable {
    /// The first reading is due at once.
    pub(super) fn new(patience: &Patience, now: Instant) -> Timetable {
        Timetable {
            spacing: patience.spacing,
            looks: patience.looks,
            delays: patience.follow_ups,
            resync: patience.resync,
            resync_of_parts: patience.resync_of_parts,
            wanted: true,
            follow_ups: [None; 3],
            next_resync: now + patience.resync,
            not_before: now,
            started: now,
        }
    }

    /// Something happened: read at once, and once more when it is quiet, because a server may report a guest
    /// as stopped while it starts.
    pub(super) fn happened(&mut self, now: Instant) {
        self.wanted = true;
        self.follow_ups[0] = Some(now + self.delays[0]);
    }

    /// Guests migrate between members of the cluster, which sends no event at the end of a migration.
    pub(super) fn migration(&mut self, now: Instant) {
        self.wanted = true;
        self.follow_ups = self.delays.map(|delay| Some(now + delay));
    }

    /// When the next reading is due.
    pub(super) fn due(&self) -> Instant {
        let follow_ups = self.follow_ups.iter().flatten().copied();
        let due = follow_ups.fold(self.next_resync, Instant::min);
        if self.wanted { self.not_before } else { due.max(self.not_before) }
    }

    /// A reading begins. It serves everything that is due until now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.wanted = false;
        for follow_up in &mut self.follow_ups {
            follow_up.take_if(|at| *at <= now);
        }
        self.started = now;
        self.not_before = now + self.spacing;
        self.next_resync = now + jittered(self.resync);
    }

    /// The reading has ended. The next one waits as long as this one took, so that a slow server has time for
    /// others.
    pub(super) fn end(&mut self, now: Instant) {
        let pause = now.duration_since(self.started).min(self.delays[0]);
        self.not_before = self.not_before.max(now + pause);
    }

    /// A part of the last reading is missing, and there may be no event when it is there.
    pub(super) fn lacks_parts(&mut self, now: Instant) {
        self.next_resync = self.next_resync.min(now + jittered(self.resync_of_parts));
    }

    /// The reading has failed. The next one begins after this pause, or earlier if something happens.
    pub(super) fn failed(&mut self, now: Instant, pause: Duration) {
        self.next_resync = now + pause;
        self.not_before = self.not_before.max(now + self.looks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Reads whenever it is due, each reading taking `cost`, until `end`. Returns the starts in milliseconds.
    fn starts(timetable: &mut Timetable, start: Instant, end: u32, cost: Duration) -> Vec<u128> {
        let mut starts = Vec::new();
        while timetable.due() <= start + end * MS {
            let now = timetable.due();
            starts.push(now.duration_since(start).as_millis());
            timetable.begin(now);
            timetable.end(now + cost);
        }
        starts
    }

    #[test]
    fn the_first_reading_is_due_at_once_and_then_the_resync() {
        let start = Instant::now();
        let mut timetable = Timetable::new(&Patience::default(), start);
        let starts = starts(&mut timetable, start, 361_000, MS);
        assert_eq!(starts.len(), 2);
        assert!((240_000..=360_000).contains(&starts[1]), "{starts:?}");
    }

    #[test]
    fn a_missing_part_is_looked_for_sooner() {
        let start = Instant::now();
        let mut timetable = Timetable::new(&Patience::default(), start);
        starts(&mut timetable, start, 0, MS);
        timetable.lacks_parts(start);
        let due = timetable.due().duration_since(start).as_secs_f64();
        assert!((24.0..=36.0).contains(&due), "{due}");
    }

    #[test]
    fn a_burst_is_read_at_once_then_spaced_then_once_more() {
        let start = Instant::now();
        let mut timetable = Timetable::new(&Patience::default(), start);
        starts(&mut timetable, start, 0, MS);
        let event = start + 1000 * MS;
        timetable.happened(event);
        assert!(timetable.due() <= event);
        timetable.begin(event);
        timetable.end(event + 4 * MS);
        timetable.happened(event + 2 * MS);
        timetable.happened(event + 10 * MS);
        assert_eq!(starts(&mut timetable, start, 9000, MS), [1050, 3010]);
    }

    #[test]
    fn a_migration_is_followed_for_a_while() {
        let start = Instant::now();
        let mut timetable = Timetable::new(&Patience::default(), start);
        timetable.migration(start);
        assert_eq!(starts(&mut timetable, start, 15_000, MS), [0, 2000, 5000, 10_000]);
    }

    #[test]
    fn a_failed_reading_is_repeated_after_a_pause_or_when_something_happens() {
        let start = Instant::now();
        let mut timetable = Timetable::new(&Patience::default(), start);
        timetable.begin(start);
        timetable.end(start + 4 * MS);
        timetable.failed(start + 4 * MS, 1000 * MS);
        assert_eq!(timetable.due(), start + 1004 * MS);
        timetable.happened(start + 10 * MS);
        assert_eq!(timetable.due(), start + 204 * MS);
    }

    #[test]
    fn a_slow_server_gets_a_pause() {
        let start = Instant::now();
        let mut timetable = Timetable::new(&Patience::default(), start);
        timetable.begin(start);
        timetable.happened(start + 10 * MS);
        timetable.end(start + 500 * MS);
        assert_eq!(timetable.due(), start + 1000 * MS);
    }
}
