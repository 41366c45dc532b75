//! Entries of systemd's journal, with fields: `journalctl GUEST=web`. See systemd.journal-fields(7) and
//! JOURNAL_NATIVE_PROTOCOL of systemd's documentation.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields::is_for_programs;
use crate::model::{names, text};

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to the journal: one datagram an entry.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// The journal, if stderr leads there and it takes entries.
    pub(super) fn of_stderr() -> Option<Journal> {
        let socket = UnixDatagram::unbound().ok().filter(|_| is_stderr_the_journal())?;
        // It is never full for longer than the journal needs, and only the log's own thread waits.
        socket.connect(SOCKET).ok()?;
        Some(Journal(socket))
    }
}

/// Whether stderr is the stream that `JOURNAL_STREAM` names, as in systemd.exec(5).
fn is_stderr_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    named == format!("{}:{}", stderr.dev(), stderr.ino())
}

impl Write for Journal {
    /// Writes one entry. A journal that was replaced is found again.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        match self.0.send(entry) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.0.connect(SOCKET)?;
                self.0.send(entry)
            }
            sent => sent,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats events as entries: a line for each field. The sentence comes last.
pub(super) struct JournalEntries;

impl<S, N> FormatEvent<S, N> for JournalEntries
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
        writeln!(to, "PRIORITY={priority}")?;
        writeln!(to, "SYSLOG_IDENTIFIER={}", names::PROGRAM)?;
        let mut fields = Lines { to: &mut to, end: Ok(()) };
        event.record(&mut fields);
        fields.end?;
        let mut sentence = String::new();
        context.format_fields(Writer::new(&mut sentence), event)?;
        writeln!(to, "MESSAGE={}", text::visible(&sentence))
    }
}

/// Writes the values for programs, each on a line.
struct Lines<'a, 'w> {
    to: &'a mut Writer<'w>,
    end: fmt::Result,
}

impl Visit for Lines<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if is_for_programs(field) && self.end.is_ok() {
            // A line end would begin another field.
            let value = text::visible(&format!("{value:?}"));
            self.end = writeln!(self.to, "{}={value}", field.name().to_ascii_uppercase());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::super::fields::Sentences;
    use super::super::rate_limit::RateLimited;
    use super::*;

    #[derive(Clone, Default)]
    struct Entries(Arc<Mutex<Vec<String>>>);

    impl Write for Entries {
        fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(entry.to_vec()).unwrap());
            Ok(entry.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Entries {
        type Writer = Entries;

        fn make_writer(&self) -> Entries {
            self.clone()
        }
    }

    #[test]
    fn an_entry_has_a_field_a_line_and_the_sentence_last() {
        let entries = Entries::default();
        let log = tracing_subscriber::fmt()
            .with_writer(entries.clone())
            .fmt_fields(Sentences)
            .event_format(RateLimited::new(JournalEntries))
            .finish();
        tracing::subscriber::with_default(log, || {
            let nobody: Option<&str> = None;
            tracing::warn!(guest = "web", problem = %"held", nic = nobody, size = 3, "it says \nPRIORITY=0");
        });
        let expected = "PRIORITY=4\nSYSLOG_IDENTIFIER=macvlan-shim\nGUEST=web\nPROBLEM=held\n\
                        MESSAGE=it says \\nPRIORITY=0 size=3\n";
        assert_eq!(*entries.0.lock().unwrap(), [expected], "one entry, one datagram");
    }
}
