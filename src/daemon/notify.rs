//! Reports the daemon's state to systemd. Does nothing if nobody listens (no `NOTIFY_SOCKET`).

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::model::text;

/// Minimum time between two lines of status, however fast things change.
const PACE: Duration = Duration::from_secs(1);

/// The state of the daemon as systemd knows it.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    /// The line that it shows, and since when.
    told: Option<(String, Instant)>,
    /// The line that it will show as soon as the pace allows.
    news: Option<String>,
    watchdog: Option<Watchdog>,
}

/// The unit has a watchdog, which replaces a daemon that is silent.
#[derive(Debug)]
struct Watchdog {
    /// Half of its interval.
    every: Duration,
    /// When it must hear from the daemon.
    next: Instant,
}

/// The messages that are due.
#[derive(Debug, Default, PartialEq)]
struct Due {
    status: Option<String>,
    alive: bool,
}

impl Notifier {
    /// Nothing has been reported yet. The environment says whether there is a watchdog.
    pub(super) fn new() -> Notifier {
        Notifier::watched(sd_notify::watchdog_enabled(), Instant::now())
    }

    fn watched(patience: Option<Duration>, now: Instant) -> Notifier {
        let patience = patience.filter(|patience| !patience.is_zero());
        Notifier {
            watchdog: patience.map(|patience| Watchdog { every: patience / 2, next: now }),
            ..Notifier::default()
        }
    }

    /// Configuration, control socket and first snapshot are there. Also ends a reload.
    pub(super) fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// To be called in each turn of the loop, with the line that `systemctl status` will show. The watchdog
    /// learns from it that the loop turns.
    pub(super) fn turn(&mut self, status: String, now: Instant) {
        let due = self.due(status, now);
        if let Some(status) = &due.status {
            // A line end would begin another assignment, such as MAINPID=.
            send(&[NotifyState::Status(&text::words(status))]);
        }
        if due.alive {
            send(&[NotifyState::Watchdog]);
        }
    }

    /// When a turn is needed although nothing happens.
    pub(super) fn wake(&self) -> Option<Instant> {
        let status = self.told.as_ref().filter(|_| self.news.is_some()).map(|(_, since)| *since + PACE);
        status.into_iter().chain(self.watchdog.as_ref().map(|watchdog| watchdog.next)).min()
    }

    fn due(&mut self, status: String, now: Instant) -> Due {
        let is_known = self.told.as_ref().is_some_and(|(told, _)| *told == status);
        self.news = (!is_known).then_some(status);
        let is_early = self.told.as_ref().is_some_and(|(_, since)| now < *since + PACE);
        let status = if is_early { None } else { self.news.take() };
        if let Some(status) = &status {
            self.told = Some((status.clone(), now));
        }
        let watchdog = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now);
        Due { status, alive: watchdog.map(|watchdog| watchdog.next = now + watchdog.every).is_some() }
    }

    /// A reload has begun; [`Notifier::ready`] ends it.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd wants both in one message.
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no clock for systemd"),
        }
    }

    /// The daemon is about to end.
    pub(super) fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Due {
        Due { status: Some(text.into()), alive: false }
    }

    #[test]
    fn a_status_is_sent_when_it_changes_and_at_most_once_a_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut notifier = Notifier::watched(None, start);
        assert_eq!(notifier.wake(), None);
        assert_eq!(notifier.due("one".into(), at(0)), status("one"));
        assert_eq!(notifier.due("one".into(), at(2000)), Due::default());
        assert_eq!(notifier.due("two".into(), at(2001)), status("two"));
        assert_eq!(notifier.due("three".into(), at(2002)), Due::default());
        assert_eq!(notifier.due("four".into(), at(2003)), Due::default());
        assert_eq!(notifier.wake(), Some(at(3001)));
        assert_eq!(notifier.due("four".into(), at(3001)), status("four"));
        assert_eq!(notifier.wake(), None);
    }

    #[test]
    fn an_unchanged_status_is_no_news() {
        let start = Instant::now();
        let mut notifier = Notifier::watched(None, start);
        notifier.due("one".into(), start);
        notifier.due("two".into(), start);
        assert_eq!(notifier.due("one".into(), start + PACE), Due::default());
        assert_eq!(notifier.wake(), None);
    }

    #[test]
    fn the_watchdog_hears_of_us_twice_in_its_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notifier = Notifier::watched(Some(Duration::from_secs(60)), start);
        let mut alive = |seconds| notifier.due("one".into(), at(seconds)).alive;
        assert_eq!(
            [0, 1, 29, 30, 31, 60, 89].map(&mut alive),
            [true, false, false, true, false, true, false]
        );
        assert_eq!(notifier.wake(), Some(at(90)));
        assert_eq!(Notifier::watched(Some(Duration::ZERO), start).wake(), None);
    }
}
