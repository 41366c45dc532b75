//! The numbers that the daemon counts since it started. Plain data, which only grows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::named::named;
use super::op_kind::OpObject;
use super::{Code, OpKind, ServerId, Timestamp};

/// Everything that is counted, and some times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// When the configuration in force was loaded.
    pub config_loaded: Option<Timestamp>,
    /// When the loop last had nothing more to do, or gave way to other work.
    pub last_pass: Option<Timestamp>,
    /// The servers that are followed.
    pub servers: BTreeMap<ServerId, ServerTally>,
    /// The kernel's events.
    pub netlink: NetlinkTally,
    /// Number of operations that ended, by kind and by whether they succeeded.
    pub operations: BTreeMap<(OpKind, bool), u64>,
    /// Number of operations that undid a change of somebody else.
    pub repairs: BTreeMap<OpObject, u64>,
    /// Number of claims to addresses that belong to somebody else, by the code of the refusal.
    pub conflicts: BTreeMap<Code, u64>,
    /// Number of questions to the LAN.
    pub probes: BTreeMap<LanAnswer, u64>,
    /// The times from the reading of a guest's change to its route.
    pub reactions: Reactions,
    /// Number of readings of the host's whole state.
    pub resyncs: BTreeMap<ResyncTrigger, u64>,
}

/// The numbers of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTally {
    /// Number of events heard.
    pub events: u64,
    /// Number of times that the event stream ended after the server was read.
    pub disconnects: u64,
}

/// The numbers of the sockets that hear the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetlinkTally {
    /// Number of datagrams of events heard.
    pub events: u64,
    /// Number of times that events were lost.
    pub overruns: u64,
}

named! {
    /// The LAN's answer to the question who has an address.
    LanAnswer {
        /// Another machine answered.
        Taken = "taken",
        /// Everybody was asked, and nobody answered.
        Free = "free",
        /// The question could not be sent.
        Failed = "failed",
        /// No answer was seen: the question was withdrawn, or its entry was gone.
        Unknown = "unknown",
    }
}

named! {
    /// What led to a reading of the host's whole state.
    ResyncTrigger {
        /// The clock.
        Timer = "timer",
        /// A reload.
        Reload = "reload",
    }
}

/// A histogram of times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reactions {
    /// Number of times in each bucket, not counting those of smaller ones.
    buckets: [u64; Reactions::BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Reactions {
    /// The upper bounds of the buckets, in seconds.
    pub const BOUNDS: [f64; 12] =
        [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = Reactions::BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += time;
    }

    /// Number of times.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound, in seconds, with the number of times up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        Reactions::BOUNDS.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_every_bucket_that_is_not_below_it() {
        let mut reactions = Reactions::default();
        for micros in [200, 250, 900, 30_000_000] {
            reactions.add(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = reactions.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((reactions.count(), reactions.sum()), (4, Duration::from_micros(30_001_350)));
    }
}
