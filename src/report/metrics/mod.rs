//! The metrics, in the text format that Prometheus reads: a view of the same report that the status is a part
//! of, so the two agree. Gauges come from the status, counters from the numbers that the daemon counts.
//!
//! | module | contents |
//! | --- | --- |
//! | `families` | the table of all families: name, type, labels, meaning |
//! | `sheet` | fills families with values and writes them |
//! | `daemon`, `guests`, `places`, `work` | the values, by their subjects |
//!
//! A value of an enum that stands for a label has a series even while its number is 0, so that a query always
//! has an answer. The number of series is bounded: no label has a text that a guest can choose, other than
//! the names that its server has for it, and only so many NICs have a series of their own.

mod daemon;
mod families;
mod guests;
mod places;
mod sheet;
mod work;

pub use self::families::{About, FAMILIES, Kind};
use self::sheet::Sheet;
pub use self::sheet::Unwritable;
use super::Report;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a report as text.
///
/// # Errors
///
/// Never for a report of the daemon: the table of families and the values are made for each other.
pub fn exposition(report: &Report) -> Result<String, Unwritable> {
    let mut sheet = Sheet::default();
    daemon::fill(&mut sheet, report);
    places::fill(&mut sheet, report);
    guests::fill(&mut sheet, report);
    work::fill(&mut sheet, &report.figures.tally);
    sheet.written()
}

#[cfg(test)]
mod tests;
