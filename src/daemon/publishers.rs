//! The kinds of questions that others ask the loop, each with its publisher.

use std::time::Instant;

use super::history::HistoryReader;
use super::publisher::{AnswerReader, Publisher, channel};
use crate::model::explanation::{Explanations, Sought};
use crate::report::Report;

/// Asks for the report.
pub type ReportReader = AnswerReader<(), Report>;

/// Asks for explanations.
pub type ExplanationReader = AnswerReader<Sought, Explanations>;

/// The askers' ends.
#[derive(Clone, Debug)]
pub struct Readers {
    /// For the report.
    pub reports: ReportReader,
    /// For explanations.
    pub explanations: ExplanationReader,
    /// For the past, about which the loop need not be asked.
    pub past: HistoryReader,
}

/// The loop's ends.
#[derive(Debug)]
pub struct Publishers {
    /// Of the report.
    pub reports: Publisher<(), Report>,
    /// Of explanations.
    pub explanations: Publisher<Sought, Explanations>,
}

/// Publishers that have published nothing yet, and readers of them and of the past.
pub fn channels(past: HistoryReader) -> (Publishers, Readers) {
    let ((reports, reading), (explanations, explaining)) = (channel(), channel());
    let readers = Readers { reports: reading, explanations: explaining, past };
    (Publishers { reports, explanations }, readers)
}

impl Publishers {
    /// Waits until somebody asks anything.
    pub async fn asked(&mut self) {
        tokio::select! {
            () = self.reports.asked() => {}
            () = self.explanations.asked() => {}
        }
    }

    /// To be called when something may have changed.
    pub fn changed(&mut self) {
        self.reports.changed();
        self.explanations.changed();
    }

    /// When the next answer is due, if somebody waits for one.
    pub fn wake(&self) -> Option<Instant> {
        self.reports.wake().into_iter().chain(self.explanations.wake()).min()
    }
}
