//! A limit on the rate of lines from each place in the code. A burst passes, then one line a second. A guest
//! that flips its addresses must not fill the disk.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Maximum number of lines that one place may log at once.
const BURST: u32 = 200;
/// How long it takes until one more line may pass.
const REFILL: Duration = Duration::from_secs(1);

/// Formats lines as `F` does, and leaves out those beyond the limit. Lines of level debug and below have
/// none, because somebody asked for them.
pub(super) struct RateLimited<F> {
    format: F,
    places: Mutex<HashMap<Identifier, Bucket>>,
}

impl<F> RateLimited<F> {
    pub(super) fn new(format: F) -> RateLimited<F> {
        RateLimited { format, places: Mutex::default() }
    }
}

impl<S, N, F> FormatEvent<S, N> for RateLimited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if *event.metadata().level() > Level::INFO {
            return self.format.format_event(context, to, event);
        }
        let passed = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.entry(event.metadata().callsite()).or_insert_with(Bucket::new).pass(Instant::now())
        };
        match passed {
            None => Ok(()),
            Some(0) => self.format.format_event(context, to, event),
            Some(left_out) => {
                let mut line = String::new();
                self.format.format_event(context, Writer::new(&mut line), event)?;
                writeln!(to, "{} (and {left_out} more like this, left out)", line.trim_end())
            }
        }
    }
}

/// The lines that one place may still log.
struct Bucket {
    tokens: u32,
    refilled: Instant,
    left_out: u64,
}

impl Bucket {
    fn new() -> Bucket {
        Bucket { tokens: BURST, refilled: Instant::now(), left_out: 0 }
    }

    /// If a line passes: the number of lines left out since the last one.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let refill = now.duration_since(self.refilled).as_nanos() / REFILL.as_nanos();
        if refill > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(refill).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
        if self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_logged_then_few_lines_that_count_the_missing_ones() {
        let mut bucket = Bucket::new();
        let start = bucket.refilled;
        let passed: Vec<Option<u64>> = (0..1000).map(|_| bucket.pass(start)).collect();
        assert_eq!(passed.iter().filter(|passed| **passed == Some(0)).count(), 200);
        assert_eq!(passed.iter().filter(|passed| passed.is_none()).count(), 800);
        let later = start + 3 * REFILL;
        let passed: Vec<u64> = (0..1000).filter_map(|_| bucket.pass(later)).collect();
        assert_eq!(passed, [800, 0, 0]);
        assert_eq!(bucket.pass(later + REFILL), Some(997));
    }
}
