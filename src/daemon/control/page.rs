//! A text that is made from the report, once for all askers of the same report, because that of a thousand
//! guests takes milliseconds.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;

use crate::daemon::publishers::ReportReader;
use crate::report::Report;

/// The last text, and the report that it was made from.
pub(super) struct Page {
    reports: ReportReader,
    written: Mutex<Option<(Arc<Report>, Bytes)>>,
}

impl Page {
    /// Nothing written yet.
    pub(super) fn new(reports: ReportReader) -> Page {
        Page { reports, written: Mutex::default() }
    }

    /// The text of the present report. `None` if the loop has ended.
    pub(super) async fn text<E>(
        &self,
        write: impl FnOnce(&Report) -> Result<Bytes, E>,
    ) -> Option<Result<Bytes, E>> {
        let report = self.reports.ask(()).await?;
        Some(self.text_of(report, write))
    }

    fn text_of<E>(
        &self,
        report: Arc<Report>,
        write: impl FnOnce(&Report) -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut last = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = last.as_ref().filter(|(its, _)| Arc::ptr_eq(its, &report)) {
            return Ok(bytes.clone());
        }
        let bytes = write(&report)?;
        *last = Some((report, bytes.clone()));
        Ok(bytes)
    }
}
