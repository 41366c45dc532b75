//! What the log says of operations: each one, but never more than a trickle. A guest that flips its
//! addresses must not fill the disk.

use std::time::{Duration, Instant};

use crate::model::{Op, Step};
use crate::reconcile::schedule::Error;

/// So many lines may come at once …
const BURST: u32 = 200;
/// … and then one in each such span.
const REFILL: Duration = Duration::from_millis(200);

/// A token bucket in front of the log.
#[derive(Debug)]
pub(super) struct Chatter {
    tokens: u32,
    refilled: Instant,
    left_out: u64,
}

impl Default for Chatter {
    fn default() -> Chatter {
        Chatter { tokens: BURST, refilled: Instant::now(), left_out: 0 }
    }
}

impl Chatter {
    /// Tells of a step that ran.
    pub(super) fn ran(&mut self, step: &Step, result: &Result<(), Error>) {
        let detail = matches!(step.op, Op::Set { .. } | Op::MulticastOff { .. });
        if detail && result.is_ok() {
            tracing::debug!("{}: {}", step.op, step.why);
            return;
        }
        if !self.may_speak(Instant::now()) {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            tracing::warn!("{} operations were not logged: too many at once", self.left_out);
            self.left_out = 0;
        }
        match result {
            Ok(()) => tracing::info!("{}: {}", step.op, step.why),
            Err(Error { message, hint: Some(hint), .. }) => tracing::warn!("{message}; {hint}"),
            Err(Error { message, hint: None, .. }) => tracing::warn!("{message}"),
        }
    }

    fn may_speak(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.refilled).as_nanos() / REFILL.as_nanos();
        if refill > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(refill).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
        let speaks = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        speaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_logged_then_a_trickle() {
        let mut chatter = Chatter::default();
        let start = chatter.refilled;
        let spoken = (0..1000).filter(|_| chatter.may_speak(start)).count();
        assert_eq!(spoken, 200);
        let second = start + Duration::from_secs(1);
        let spoken = (0..1000).filter(|_| chatter.may_speak(second)).count();
        assert_eq!(spoken, 5);
    }
}
