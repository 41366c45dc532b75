//! `GET /metrics`: the present report for Prometheus.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::answer::{Answer, answer, stopping, unwritten};
use super::page::Page;
use crate::report::metrics;

/// Where Prometheus looks if nobody tells it otherwise.
pub(super) const PATH: &str = "/metrics";

pub(super) async fn get(page: &Page) -> Answer {
    match page.text(|report| metrics::exposition(report).map(Bytes::from)).await {
        Some(Ok(bytes)) => {
            let mut answer = answer(StatusCode::OK, bytes);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            answer
        }
        Some(Err(error)) => unwritten(&error),
        None => stopping(),
    }
}
