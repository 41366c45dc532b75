//! The values that an event carries for programs, beside its sentence.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Values whose meaning is in the sentence already. People read the sentence. The journal and JSON have them.
const FOR_PROGRAMS: [&str; 10] =
    ["message_id", "server", "project", "guest", "nic", "address", "object", "action", "reason", "problem"];

/// Whether a value is for programs.
pub(super) fn is_for_programs(field: &Field) -> bool {
    FOR_PROGRAMS.contains(&field.name())
}

/// Formats the sentence, and those values that it does not have.
pub(super) struct Sentences;

impl<'w> FormatFields<'w> for Sentences {
    fn format_fields<R: RecordFields>(&self, mut to: Writer<'w>, fields: R) -> fmt::Result {
        let mut sentence = Sentence::default();
        fields.record(&mut sentence);
        write!(to, "{}{}", sentence.message, sentence.others)
    }
}

/// The sentence of an event.
#[derive(Default)]
pub(super) struct Sentence {
    message: String,
    others: String,
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name if !is_for_programs(field) => self.others += &format!(" {name}={value:?}"),
            _ => {}
        }
    }
}
