//! `GET /1.0/status`: the present report.

use hyper::StatusCode;

use super::answer::{Answer, answer, stopping, unwritten, written};
use super::page::Page;

pub(super) const PATH: &str = "/1.0/status";

pub(super) async fn get(page: &Page) -> Answer {
    match page.text(|report| written(&report.status)).await {
        Some(Ok(bytes)) => answer(StatusCode::OK, bytes),
        Some(Err(error)) => unwritten(&error),
        None => stopping(),
    }
}
