//! The log of `run`: one line for each event, on stderr, or in the journal if stderr leads there. `RUST_LOG` sets
//! the level (`debug`, or `macvlan_shim::kernel=debug`), which is `info` by default.
//!
//! | module | contents |
//! | --- | --- |
//! | `fields` | the values that an event carries for programs, beside its sentence |
//! | `journal` | entries of systemd's journal |
//! | `rate_limit` | a limit on the rate of lines from each place in the code |

mod fields;
mod journal;
mod rate_limit;

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, JsonFields};
use tracing_subscriber::fmt::{FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use self::fields::Sentences;
use self::journal::{Journal, JournalEntries};
use self::rate_limit::RateLimited;
use crate::cli::LogFormat;

/// Maximum number of lines that wait for the reader of stderr. Further ones are dropped, because the daemon
/// waits for nobody.
const WAITING: usize = 1024;

/// Starts the log. A thread of its own writes the lines. Those that still wait are written when the value is
/// dropped.
pub(super) fn start(format: LogFormat) -> WorkerGuard {
    let (levels, complaint) = match levels(std::env::var("RUST_LOG").ok().as_deref()) {
        Ok(levels) => (levels, None),
        Err(why) => (by_default(Targets::new()), Some(why)),
    };
    let text = Format::default().compact().with_target(false);
    let guard = match (format, Journal::of_stderr()) {
        (LogFormat::Json, _) => {
            let (writer, guard) = waiting(io::stderr());
            let json = Format::default().json().flatten_event(true).with_target(false);
            log(writer, levels, JsonFields::new(), json);
            guard
        }
        (LogFormat::Text, Some(journal)) => {
            let (writer, guard) = waiting(journal);
            log(writer, levels, Sentences, JournalEntries);
            guard
        }
        (LogFormat::Text, None) => {
            let (writer, guard) = waiting(io::stderr());
            log(writer, levels, Sentences, text);
            guard
        }
    };
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    guard
}

/// A writer that waits for nobody.
fn waiting(to: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(WAITING).finish(to)
}

/// Logs in that form from now on.
fn log<N, F>(writer: NonBlocking, levels: Targets, fields: N, format: F)
where
    N: for<'a> FormatFields<'a> + Send + Sync + 'static,
    F: FormatEvent<Registry, N> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
        // There is nobody to tell, because stderr itself fails.
        .log_internal_errors(false)
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(io::stderr().is_terminal())
        .fmt_fields(fields)
        .event_format(RateLimited::new(format));
    // A second start keeps the first log.
    let _ = log.finish().with(levels).try_init();
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

#[cfg(test)]
mod tests {
    use tracing::Level;

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
