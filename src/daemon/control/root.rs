//! `GET /1.0`: the program that answers here, and its paths.

use hyper::StatusCode;
use serde_json::json;

use super::answer::{Answer, respond};
use crate::model::names;

pub(super) const PATH: &str = "/1.0";

pub(super) fn get(paths: &[&str]) -> Answer {
    let body = json!({"program": names::PROGRAM, "version": env!("CARGO_PKG_VERSION"), "paths": paths});
    respond(StatusCode::OK, &body)
}
