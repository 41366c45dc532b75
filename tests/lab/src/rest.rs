//! Just enough HTTP for the API of a server or a daemon, over its unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Machine;

impl Machine {
    /// The answer to `GET` of a path at a unix socket of the machine, as JSON.
    ///
    /// # Errors
    /// If nobody answers, or if the answer is an error.
    pub fn get(&self, socket: &str, path: &str) -> Result<Value> {
        exchange(&self.path(socket), "GET", path, "application/json", b"")
            .with_context(|| format!("{}: GET {path} at {socket}", self.name()))
    }
}

/// Sends a request, waits for the operation if it starts one, and returns the answer's metadata.
pub(crate) fn request(socket: &Path, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Value> {
    let answer = exchange(socket, method, path, kind, body).with_context(|| format!("{method} {path}"))?;
    if answer["type"] != "async" {
        return Ok(answer["metadata"].clone());
    }
    let operation = answer["operation"].as_str().context("no operation")?;
    let mut end = exchange(socket, "GET", &format!("{operation}/wait"), kind, b"")
        .with_context(|| format!("operation of {method} {path}"))?;
    let end = end["metadata"].take();
    ensure!(end["status_code"] == 200, "{method} {path}: {}", end["err"].as_str().unwrap_or("failed"));
    Ok(end["metadata"].clone())
}

fn exchange(socket: &Path, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Value> {
    let mut stream = UnixStream::connect(socket).context("connecting")?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    // Version 1.0, so that the answer ends with the connection and is not chunked.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: lab\r\nContent-Type: {kind}\r\n")?;
    write!(stream, "Content-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no end of headers")?;
    let status = String::from_utf8_lossy(&answer[..end]).lines().next().unwrap_or_default().to_owned();
    let answer: Value = serde_json::from_slice(&answer[end + 4..]).with_context(|| status.clone())?;
    if answer["type"] == "error" {
        bail!("{status}: {}", answer["error"].as_str().unwrap_or_default());
    }
    Ok(answer)
}
