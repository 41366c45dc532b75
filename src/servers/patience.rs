//! The times that we wait for a server, and the limits to its answers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The patience of one follower. Only tests change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Patience {
    /// How long the kernel may take to accept a connection.
    pub connect: Duration,
    /// How long the answer to `GET /1.0`, to the question about a network, or to the opening of the event
    /// stream may take. A server that is just starting lets requests wait.
    pub answer: Duration,
    /// How long the list of all instances may take. In a cluster the server asks every member for it.
    pub list: Duration,
    /// How long one round of questions for first processes may take in all.
    pub first_processes: Duration,
    /// The event stream is dead after this time without a frame. The servers ping every 10 s.
    pub silence: Duration,
    /// The time between the starts of two listings while events keep coming.
    pub spacing: Duration,
    /// The times of listings after the last event: one after the first of these times, and after a migration
    /// between cluster members one after each of them.
    pub follow_ups: [Duration; 3],
    /// The time between listings when nothing happens. A list of a thousand guests takes tens of milliseconds
    /// of a processor, and the kernel also shows when a guest starts or stops.
    pub resync: Duration,
    /// The same while a part of the last listing could not be read.
    pub resync_of_parts: Duration,
    /// The time between two looks for a server that is away, however often something asks for one.
    pub looks: Duration,
    /// The first pause before connecting again. Each pause is a quarter longer than the one before, so that a
    /// server is found again after little more than the time that it was away.
    pub retry_first: Duration,
    /// The longest pause before connecting again.
    pub retry_last: Duration,
    /// How long the process of a server that closed its event stream may take to end before we connect again,
    /// if systemd holds its socket. A connection that the ending server leaves behind makes systemd start it
    /// again. (LXD 5.0.2 ends 1.2 s after it closed the stream.)
    pub farewell: Duration,
    /// Maximum length of the list of instances, in bytes. The list is read as it comes in, and little of it
    /// is kept, so its length costs time but no memory.
    pub max_list: usize,
    /// Maximum length of any other answer, in bytes.
    pub max_answer: usize,
    /// Maximum number of guests of one server.
    pub max_guests: usize,
    /// Maximum number of managed networks of one server that are looked up. Each takes a request.
    pub max_networks: usize,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(30),
            list: Duration::from_secs(40),
            first_processes: Duration::from_secs(2),
            silence: Duration::from_secs(30),
            spacing: Duration::from_millis(50),
            follow_ups: [2, 5, 10].map(Duration::from_secs),
            resync: Duration::from_secs(300),
            resync_of_parts: Duration::from_secs(30),
            looks: Duration::from_millis(200),
            retry_first: Duration::from_millis(200),
            retry_last: Duration::from_secs(30),
            farewell: Duration::from_secs(10),
            max_list: 1 << 30,
            max_answer: 4 << 20,
            max_guests: 16_384,
            max_networks: 256,
        }
    }
}

/// The pauses between attempts to connect.
pub(super) struct Pauses {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(patience: &Patience) -> Pauses {
        Pauses { first: patience.retry_first, last: patience.retry_last, next: patience.retry_first }
    }

    /// The next pause, with jitter.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.mul_f64(1.25).min(self.last);
        jittered(pause)
    }

    /// Begins again with the shortest pause.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The span, up to a fifth longer or shorter, so that the nodes of a cluster do not act in step.
pub fn jittered(span: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    span.mul_f64(0.8 + 0.4 * random as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_the_time_that_the_server_is_away_up_to_the_last() {
        let mut pauses = Pauses::new(&Patience::default());
        let about = |pause: Duration, wanted: f64| {
            let seconds = pause.as_secs_f64();
            assert!((wanted * 0.799..wanted * 1.201).contains(&seconds), "{seconds} is not about {wanted}");
        };
        let mut away = Duration::ZERO;
        for _ in 0..22 {
            let pause = pauses.next();
            assert!(pause < away / 3 + Duration::from_millis(300), "{pause:?} after {away:?}");
            away += pause;
        }
        assert!(away < Duration::from_secs(200), "{away:?}");
        about(pauses.next(), 27.1);
        about(pauses.next(), 30.0);
        about(pauses.next(), 30.0);
        pauses.reset();
        about(pauses.next(), 0.2);
    }
}
