//! The metrics as their readers see them: the text of a rich world, what promtool says of it, the alerts, the
//! dashboard, the document. Needs promtool, which is in Debian's package `prometheus`, and fails without it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod alerts;
mod dashboard;
mod document;
mod exposition;
mod promtool;
mod rich;
