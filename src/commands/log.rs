//! The log of `run`: one line an event on stderr, level by `RUST_LOG`, `info` if that is not set.

mod trickle;

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use self::trickle::Trickle;

/// So many lines wait for whoever reads stderr; further ones are dropped, for the daemon waits for nobody.
const WAITING: usize = 1024;

/// Starts the log. Under systemd's journal, lines carry their priority and no time of their own. A thread of its
/// own writes them; what waits is written when the value is dropped.
pub(super) fn start() -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(WAITING).finish(io::stderr());
    let filter =
        EnvFilter::builder().with_default_directive(tracing::level_filters::LevelFilter::INFO.into());
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
        // It would be told on stderr, which is what fails.
        .log_internal_errors(false)
        .with_env_filter(filter.from_env_lossy())
        .with_ansi(io::stderr().is_terminal());
    let format = Format::default().compact().with_target(false);
    let started = match is_journal() {
        true => log.event_format(Trickle::new(Journal(format.without_time().with_level(false)))).try_init(),
        false => log.event_format(Trickle::new(format)).try_init(),
    };
    // A second start keeps the first log.
    let _ = started;
    guard
}

/// Whether stderr is the stream that `JOURNAL_STREAM` names, as systemd.exec(5) tells it.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    named == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// A line as the journal wants it: `<6>text`, see sd-daemon(3).
struct Journal(Format<Compact, ()>);

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(to, "<{priority}>")?;
        self.0.format_event(context, to, event)
    }
}
