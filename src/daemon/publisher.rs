//! The last report, and the questions for it. The loop makes a report if somebody asks, and at most ten times
//! a second. So a thousand questions cost the loop no more than ten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::report::Report;

/// Minimum time between two reports, whatever changes.
const PACE: Duration = Duration::from_millis(100);

/// The last report, and the number of questions that it answers.
#[derive(Clone, Debug, Default)]
struct Answered {
    report: Arc<Report>,
    answers: u64,
}

/// The loop's end: publishes reports.
#[derive(Debug)]
pub struct Publisher {
    questions: watch::Receiver<u64>,
    reports: watch::Sender<Answered>,
    /// When the last report was made.
    made: Option<Instant>,
    /// Something has changed since.
    is_stale: bool,
}

/// The askers' end.
#[derive(Clone, Debug)]
pub struct ReportReader {
    questions: watch::Sender<u64>,
    reports: watch::Receiver<Answered>,
}

/// A publisher that has published nothing yet, and a reader of it.
pub fn channel() -> (Publisher, ReportReader) {
    let (asking, questions) = watch::channel(0);
    let (reports, reading) = watch::channel(Answered::default());
    let publisher = Publisher { questions, reports, made: None, is_stale: true };
    (publisher, ReportReader { questions: asking, reports: reading })
}

impl Publisher {
    /// Waits until somebody asks.
    pub async fn asked(&mut self) {
        if self.questions.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// To be called when something may have changed.
    pub fn changed(&mut self) {
        self.is_stale = true;
    }

    /// When the next report is due, if somebody waits for it.
    pub fn wake(&self) -> Option<Instant> {
        self.made.filter(|_| self.is_awaited()).map(|made| made + PACE)
    }

    /// Answers all questions: with the last report if that is fresh and nothing has changed since, else with
    /// a new one, as soon as the pace allows. A report becomes outdated, because some things end by the clock
    /// alone.
    pub fn answer(&mut self, now: Instant, make: impl FnOnce() -> Arc<Report>) {
        let is_fresh = self.made.is_some_and(|made| now < made + PACE);
        if !self.is_awaited() || self.is_stale && is_fresh {
            return;
        }
        let answers = *self.questions.borrow();
        let report = if is_fresh {
            Arc::clone(&self.reports.borrow().report)
        } else {
            (self.made, self.is_stale) = (Some(now), false);
            make()
        };
        self.reports.send_replace(Answered { report, answers });
    }

    fn is_awaited(&self) -> bool {
        *self.questions.borrow() > self.reports.borrow().answers
    }
}

impl ReportReader {
    /// The present report. `None` if the loop has ended.
    pub async fn report(&self) -> Option<Arc<Report>> {
        let mut question = 0;
        self.questions.send_modify(|questions| {
            *questions += 1;
            question = *questions;
        });
        let mut reports = self.reports.clone();
        let published = reports.wait_for(|published| published.answers >= question).await.ok()?;
        Some(Arc::clone(&published.report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::Status;

    fn report(version: &str) -> Arc<Report> {
        Arc::new(Report { status: Status { version: version.to_owned(), ..Status::default() } })
    }

    fn ask(reader: &ReportReader) -> tokio::task::JoinHandle<Option<Arc<Report>>> {
        let reader = reader.clone();
        tokio::spawn(async move { reader.report().await })
    }

    /// Asks, has the publisher answer at that time, and returns the answer.
    async fn answered(
        publisher: &mut Publisher,
        reader: &ReportReader,
        now: Instant,
        next: &str,
    ) -> Option<String> {
        let asker = ask(reader);
        publisher.asked().await;
        publisher.answer(now, || report(next));
        tokio::task::yield_now().await;
        match publisher.is_awaited() {
            true => None,
            false => Some(asker.await.unwrap()?.status.version.clone()),
        }
    }

    #[tokio::test]
    async fn a_report_is_made_again_when_it_is_old() {
        let (mut publisher, reader) = channel();
        let start = Instant::now();
        assert_eq!(answered(&mut publisher, &reader, start, "1").await.as_deref(), Some("1"));
        assert_eq!(answered(&mut publisher, &reader, start + PACE / 2, "2").await.as_deref(), Some("1"));
        // Something in it may have ended meanwhile, although nothing has happened.
        assert_eq!(answered(&mut publisher, &reader, start + PACE, "3").await.as_deref(), Some("3"));
    }

    #[tokio::test]
    async fn a_change_and_a_question_wait_for_the_pace() {
        let (mut publisher, reader) = channel();
        let start = Instant::now();
        answered(&mut publisher, &reader, start, "1").await;
        publisher.changed();
        assert_eq!(publisher.wake(), None, "nobody asks");
        assert_eq!(answered(&mut publisher, &reader, start + PACE / 2, "2").await, None);
        assert_eq!(publisher.wake(), Some(start + PACE));
        publisher.answer(start + PACE, || report("3"));
        assert_eq!((publisher.wake(), publisher.is_awaited()), (None, false));
        assert_eq!(publisher.reports.borrow().report.status.version, "3");
    }

    #[tokio::test]
    async fn no_report_is_made_if_nobody_asks() {
        let (mut publisher, _reader) = channel();
        publisher.answer(Instant::now(), || panic!("nobody asks"));
    }

    #[tokio::test]
    async fn a_question_to_a_loop_that_has_ended_gets_no_report() {
        let (publisher, reader) = channel();
        let asker = ask(&reader);
        tokio::task::yield_now().await;
        drop(publisher);
        assert!(asker.await.unwrap().is_none());
    }
}
