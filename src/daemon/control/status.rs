//! `GET /1.0/status`: the present report.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::StatusCode;
use hyper::body::Bytes;

use super::answer::{Answer, answer, refuse, unwritten, written};
use crate::daemon::publishers::ReportReader;
use crate::report::Report;

pub(super) const PATH: &str = "/1.0/status";

/// The status as JSON. It is written once for all askers of the same report, because that of a thousand
/// guests takes milliseconds.
pub(super) struct StatusPage {
    reports: ReportReader,
    written: Mutex<Option<(Arc<Report>, Bytes)>>,
}

impl StatusPage {
    /// Nothing written yet.
    pub(super) fn new(reports: ReportReader) -> StatusPage {
        StatusPage { reports, written: Mutex::default() }
    }

    pub(super) async fn get(&self) -> Answer {
        let Some(report) = self.reports.ask(()).await else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
        };
        match self.json(report) {
            Ok(bytes) => answer(StatusCode::OK, bytes),
            Err(error) => unwritten(&error),
        }
    }

    fn json(&self, report: Arc<Report>) -> serde_json::Result<Bytes> {
        let mut last = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = last.as_ref().filter(|(its, _)| Arc::ptr_eq(its, &report)) {
            return Ok(bytes.clone());
        }
        let bytes = written(&report.status)?;
        *last = Some((report, bytes.clone()));
        Ok(bytes)
    }
}
