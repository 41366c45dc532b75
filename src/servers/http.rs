//! One request, one connection. No connection is kept open, because a silent one blocks LXD and Incus.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, iter};

use hyper::body::Bytes;
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;

use super::error::ServerError;
use super::patience::Patience;
use crate::model::names::PROGRAM;

/// Size in bytes from which an answer is read in another thread, because everything else waits for ours. It is
/// read while it arrives, because a list of a thousand guests has megabytes.
pub(super) const LARGE: usize = 64 << 10;

/// Maximum number of pieces of an answer that wait to be read.
const PIECES: usize = 4;

/// The reply to a request. Its body may still be arriving.
pub(super) struct Reply<'a> {
    /// The server and the request, for messages.
    pub(super) place: &'a str,
    pub(super) status: StatusCode,
    /// The body. Waits for the next piece where that has not arrived.
    pub(super) pieces: Box<dyn Iterator<Item = Bytes> + 'a>,
}

/// Speaks to one server.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    socket: PathBuf,
    /// Maximum length of a list of guests, in bytes.
    pub(super) max_list: usize,
    /// Maximum length of any other answer, in bytes.
    pub(super) max_answer: usize,
}

impl Client {
    pub(super) fn new(socket: &Path, patience: &Patience) -> Result<Client, ServerError> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .connect_timeout(patience.connect)
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ServerError::Failed(format!("{PROGRAM} cannot make an HTTP client: {error}")))?;
        let (max_list, max_answer) = (patience.max_list, patience.max_answer);
        Ok(Client { http, socket: socket.to_owned(), max_list, max_answer })
    }

    /// `GET path`. An answer of more than `most` bytes is an error. A long one is read by `read` in another
    /// thread, while it arrives.
    pub(super) async fn get<T: Send + 'static>(
        &self,
        path: &str,
        timeout: Duration,
        most: usize,
        read: impl FnOnce(Reply<'_>) -> Result<T, ServerError> + Send + 'static,
    ) -> Result<T, ServerError> {
        let request = self.http.get(format!("http://server{path}")).timeout(timeout);
        let mut response = request.send().await.map_err(|error| self.error(path, timeout, &error))?;
        let (place, status) = (format!("{}: GET {path}", self.socket.display()), response.status());
        let (mut start, mut length) = (Vec::new(), 0);
        while start.len() <= LARGE {
            match self.piece(path, timeout, &mut response, &mut length, most).await? {
                Some(piece) => start.extend_from_slice(&piece),
                None => {
                    let pieces = Box::new(iter::once(start.into()));
                    return read(Reply { place: &place, status, pieces });
                }
            }
        }
        let (sender, mut rest) = mpsc::channel(PIECES);
        let reading = tokio::task::spawn_blocking(move || {
            let pieces = iter::once(start.into()).chain(iter::from_fn(move || rest.blocking_recv()));
            read(Reply { place: &place, status, pieces: Box::new(pieces) })
        });
        while let Some(piece) = self.piece(path, timeout, &mut response, &mut length, most).await? {
            if sender.send(piece).await.is_err() {
                break; // it is read already, with an error
            }
        }
        drop(sender);
        let crashed = |error| ServerError::Failed(format!("reading the answer to GET {path}: {error}"));
        reading.await.map_err(crashed)?
    }

    /// The next piece of an answer. `length` bytes of it have arrived so far.
    async fn piece(
        &self,
        path: &str,
        timeout: Duration,
        response: &mut Response,
        length: &mut usize,
        max: usize,
    ) -> Result<Option<Bytes>, ServerError> {
        let piece = response.chunk().await.map_err(|error| self.error(path, timeout, &error))?;
        *length += piece.as_ref().map_or(0, Bytes::len);
        if *length > max {
            let (socket, limit) = (self.socket.display(), max >> 20);
            return Err(ServerError::Failed(format!(
                "{socket}: GET {path}: the answer is longer than {limit} MiB"
            )));
        }
        Ok(piece)
    }

    fn error(&self, path: &str, timeout: Duration, error: &reqwest::Error) -> ServerError {
        let socket = self.socket.display();
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
            if let Some(io) = cause.downcast_ref::<io::Error>()
                && error.is_connect()
            {
                return ServerError::connecting(&self.socket, io);
            }
        }
        if error.is_timeout() {
            return ServerError::Failed(format!(
                "{socket}: GET {path}: no complete answer within {timeout:?}"
            ));
        }
        ServerError::Failed(format!("{socket}: GET {path}: {cause}"))
    }
}

/// A segment of a path or a value of a query, with every special character escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte as char),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a b/ü?&+.."), "a%20b%2F%C3%BC%3F%26%2B..");
    }
}
