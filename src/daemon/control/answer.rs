//! Answers as JSON.

use std::convert::Infallible;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

/// An answer to a request.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A refusal in words.
pub(super) fn refuse(code: StatusCode, message: &str) -> Answer {
    respond(code, &json!({"error": message}))
}

/// A value as JSON.
pub(super) fn respond(code: StatusCode, body: &impl serde::Serialize) -> Answer {
    match written(body) {
        Ok(bytes) => answer(code, bytes),
        Err(error) => unwritten(&error),
    }
}

/// An answer whose JSON already exists.
pub(super) fn answer(code: StatusCode, json: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(json).boxed_unsync());
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// There are no more reports.
pub(super) fn stopping() -> Answer {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping")
}

/// Something cannot be written.
pub(super) fn unwritten(error: &impl std::fmt::Display) -> Answer {
    tracing::error!(%error, "cannot write an answer");
    let message = br#"{"error": "the daemon cannot write its answer"}"#;
    answer(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(message))
}

/// Pretty, so that curl and `status --json` show the same bytes.
pub(super) fn written(body: &impl serde::Serialize) -> serde_json::Result<Bytes> {
    let mut bytes = serde_json::to_vec_pretty(body)?;
    bytes.push(b'\n');
    Ok(Bytes::from(bytes))
}
