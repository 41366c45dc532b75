//! The log of `run`: one line for each event on stderr. `RUST_LOG` sets the level (`debug`, or
//! `macvlan_shim::kernel=debug`), which is `info` by default.

mod rate_limit;

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use self::rate_limit::RateLimited;

/// Maximum number of lines that wait for the reader of stderr. Further ones are dropped, because the daemon
/// waits for nobody.
const WAITING: usize = 1024;

/// Starts the log. Under systemd's journal, lines carry their priority and no time. A thread of its own
/// writes them. Lines that still wait are written when the value is dropped.
pub(super) fn start() -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(WAITING).finish(io::stderr());
    let (levels, complaint) = match levels(std::env::var("RUST_LOG").ok().as_deref()) {
        Ok(levels) => (levels, None),
        Err(why) => (by_default(Targets::new()), Some(why)),
    };
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
        // There is nobody to tell, because stderr itself fails.
        .log_internal_errors(false)
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(io::stderr().is_terminal());
    let format = Format::default().compact().with_target(false);
    let started = match is_journal() {
        true => {
            let format = Journal(format.without_time().with_level(false));
            log.event_format(RateLimited::new(format)).finish().with(levels).try_init()
        }
        false => log.event_format(RateLimited::new(format)).finish().with(levels).try_init(),
    };
    // A second start keeps the first log.
    let _ = started;
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    guard
}

/// The levels that `RUST_LOG` asks for.
fn levels(asked: Option<&str>) -> Result<Targets, String> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(by_default(Targets::new())) };
    let levels = asked.parse::<Targets>().map_err(|error| {
        format!("RUST_LOG is {asked:?}: {error}; the level is info (debug is one, macvlan_shim::kernel=debug another)")
    })?;
    Ok(if levels.default_level().is_none() { by_default(levels) } else { levels })
}

fn by_default(levels: Targets) -> Targets {
    levels.with_default(LevelFilter::INFO)
}

/// Whether stderr is the stream that `JOURNAL_STREAM` names, as in systemd.exec(5).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_parts_are_logged_from_info_on() {
        let logs = |asked, target, level| levels(asked).unwrap().would_enable(target, &level);
        let (kernel, daemon) = ("macvlan_shim::kernel", "macvlan_shim::daemon");
        for (asked, target, level, expected) in [
            (None, kernel, Level::INFO, true),
            (None, kernel, Level::DEBUG, false),
            (Some("debug"), daemon, Level::DEBUG, true),
            (Some("macvlan_shim::kernel=trace"), kernel, Level::TRACE, true),
            (Some("macvlan_shim::kernel=trace"), daemon, Level::DEBUG, false),
            (Some("macvlan_shim::kernel=trace"), daemon, Level::INFO, true),
            (Some("warn"), daemon, Level::INFO, false),
        ] {
            assert_eq!(logs(asked, target, level), expected, "RUST_LOG={asked:?}: {target} {level}");
        }
        assert!(levels(Some("macvlan_shim=loud")).unwrap_err().contains("loud"));
    }
}
