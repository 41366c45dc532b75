//! The history of an op.

use std::time::{Duration, Instant};

use crate::model::plan::When;
use crate::model::{Code, Op};

/// The first wait after a failure; it doubles with each further one.
pub(super) const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);
/// An op that was not needed for this long, beyond twice its back-off, starts from the beginning.
const QUIET: Duration = Duration::from_secs(1);

/// The histories of the ops about one thing. They are few, so a list takes the least time and memory.
pub(super) type Tracks = Vec<(Op, Track)>;

/// The memory of one op.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The reason for its wait, and since when without a break, if it waits.
    pub(super) surplus: Option<(When, Instant)>,
    pub(super) history: Option<History>,
}

/// The history of an op.
#[derive(Debug, Clone)]
pub struct History {
    /// The number of its runs in a row.
    pub rounds: u32,
    /// The number of the last of these that failed.
    pub(super) failures: u32,
    /// When it ran last.
    pub last: Instant,
    /// It is not retried before this.
    pub not_before: Instant,
    /// Why the last try failed; `None` if it succeeded.
    pub error: Option<Error>,
}

impl History {
    /// Whether the op was not needed for so long that this run says nothing about the next one.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let back_off = self.not_before.duration_since(self.last);
        now.duration_since(self.last) > back_off * 2 + QUIET
    }
}

/// Why an op failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Its code in the catalogue.
    pub code: Code,
    /// The failure.
    pub message: String,
    /// The cure.
    pub hint: Option<String>,
}

/// Forgets the history of ops.
pub(super) fn forget(tracks: Option<&mut Tracks>, which: impl Fn(&Op, &History) -> bool) {
    for (op, track) in tracks.into_iter().flatten() {
        track.history = track.history.take().filter(|history| !which(op, history));
    }
}

/// How long to wait after this number of failures in a row, which is at least one.
pub(super) fn back_off(failures: u32) -> Duration {
    BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACK_OFF)
}
