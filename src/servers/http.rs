//! One request, one connection. No connection is kept open, because a silent one blocks LXD and Incus.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, iter};

use hyper::body::Bytes;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::elements::Elements;
use super::error::{ServerError, excerpt};
use super::patience::Patience;
use crate::model::names::PROGRAM;

/// Size in bytes from which an answer is decoded in another thread, because everything else waits for ours.
/// A list is decoded while it arrives, because that of a thousand instances has megabytes. Everything beside
/// the list is shorter than this.
const LARGE: usize = 64 << 10;

/// Maximum number of pieces of an answer that wait to be decoded.
const PIECES: usize = 4;

/// Speaks to one server.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    socket: PathBuf,
    /// Maximum length of a list of guests, and of any other answer, in bytes.
    max_list: usize,
    max_answer: usize,
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

    /// `GET path`. Returns the metadata of the answer.
    pub(super) async fn get<T>(&self, path: &str, timeout: Duration) -> Result<T, ServerError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (mut response, status, place) = self.ask(path, timeout).await?;
        let (mut body, mut length) = (Vec::new(), 0);
        while let Some(piece) = self.piece(path, timeout, &mut response, &mut length, self.max_answer).await?
        {
            body.extend_from_slice(&piece);
        }
        if body.len() <= LARGE {
            return decode(&place, status, &body);
        }
        elsewhere(path, tokio::task::spawn_blocking(move || decode(&place, status, &body))).await
    }

    /// The same for a list of guests, which may be long. `each` puts an element into the list that is `kept`,
    /// and gets no more of it than one byte beyond the given length.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        path: &str,
        timeout: Duration,
        kept: (T, usize),
        each: fn(&mut T, &[u8]),
    ) -> Result<T, ServerError> {
        let (mut response, status, place) = self.ask(path, timeout).await?;
        let (mut start, mut length) = (Vec::new(), 0);
        while start.len() <= LARGE {
            match self.piece(path, timeout, &mut response, &mut length, self.max_list).await? {
                Some(piece) => start.extend_from_slice(&piece),
                None => return decode_list(&place, status, [start], kept, each),
            }
        }
        let (sender, mut rest) = mpsc::channel(PIECES);
        let decoding = tokio::task::spawn_blocking(move || {
            let rest = std::iter::from_fn(|| rest.blocking_recv());
            decode_list(&place, status, iter::once(start.into()).chain(rest), kept, each)
        });
        while let Some(piece) = self.piece(path, timeout, &mut response, &mut length, self.max_list).await? {
            if sender.send(piece).await.is_err() {
                break; // it is decoded already, with an error
            }
        }
        drop(sender);
        elsewhere(path, decoding).await
    }

    /// Returns the beginning of the answer, its status, and the place for messages about it.
    async fn ask(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<(Response, StatusCode, String), ServerError> {
        let request = self.http.get(format!("http://server{path}")).timeout(timeout);
        let response = request.send().await.map_err(|error| self.error(path, timeout, &error))?;
        let status = response.status();
        Ok((response, status, format!("{}: GET {path}", self.socket.display())))
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

/// The envelope that LXD and Incus put around each answer.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Envelope<T> {
    r#type: String,
    #[serde(default)]
    error: String,
    #[serde(default = "Option::default", deserialize_with = "present")]
    metadata: Option<T>,
}

/// `null` is a value too: Go writes an empty list like this.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The result of a thread that decodes an answer.
async fn elsewhere<T>(path: &str, decoding: JoinHandle<Result<T, ServerError>>) -> Result<T, ServerError> {
    let crashed = |error| ServerError::Failed(format!("decoding the answer to GET {path}: {error}"));
    decoding.await.map_err(crashed)?
}

/// Decodes a list that may still arrive.
pub(super) fn decode_list<T>(
    place: &str,
    status: StatusCode,
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    (mut kept, most): (T, usize),
    each: fn(&mut T, &[u8]),
) -> Result<T, ServerError> {
    let mut elements = Elements::new(most);
    for piece in pieces {
        elements.take_in(piece.as_ref(), |element| each(&mut kept, element));
        if elements.rest().len() > LARGE {
            break; // it is no list
        }
    }
    decode::<Option<Vec<IgnoredAny>>>(place, status, elements.rest()).map(|_| kept)
}

/// Decodes an answer that has arrived completely.
pub(super) fn decode<T: DeserializeOwned>(
    place: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<T, ServerError> {
    let strange =
        |why: String| ServerError::Failed(format!("{place}: {why}; the answer begins {}", excerpt(body)));
    let parsed = match serde_json::from_slice::<Envelope<T>>(body) {
        Ok(envelope) if envelope.r#type == "sync" && status.is_success() => Ok(envelope.metadata),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    if let Ok(Some(metadata)) = parsed {
        return Ok(metadata);
    }
    match serde_json::from_slice::<Envelope<IgnoredAny>>(body) {
        Ok(envelope) if envelope.r#type == "error" => Err(ServerError::Refused(format!(
            "{place}: the server says {}: {}",
            status.as_u16(),
            envelope.error
        ))),
        _ if !status.is_success() => Err(ServerError::Refused(format!(
            "{place}: the server says {}; the answer begins {}",
            status.as_u16(),
            excerpt(body)
        ))),
        _ => Err(match parsed {
            Err(error) => strange(format!("expected the JSON of LXD or Incus: {error}")),
            Ok(_) => strange("expected an answer of type sync with metadata".to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(status: StatusCode, body: &str) -> Result<Vec<u32>, ServerError> {
        decode("s: GET /x", status, body.as_bytes())
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a b/ü?&+.."), "a%20b%2F%C3%BC%3F%26%2B..");
    }

    #[test]
    fn the_metadata_is_unwrapped() {
        assert_eq!(decoded(StatusCode::OK, r#"{"type":"sync","new":{},"metadata":[1,2]}"#), Ok(vec![1, 2]));
    }

    #[test]
    fn an_error_of_the_server_is_quoted() {
        let body = r#"{"type":"error","error_code":404,"error":"Network not found","metadata":null}"#;
        for status in [StatusCode::NOT_FOUND, StatusCode::OK] {
            let Err(ServerError::Refused(text)) = decoded(status, body) else { panic!() };
            let code = status.as_u16();
            assert_eq!(text, format!("s: GET /x: the server says {code}: Network not found"));
        }
    }

    #[test]
    fn rubbish_is_shown_beside_the_expected_form() {
        let Err(ServerError::Failed(text)) = decoded(StatusCode::OK, "<html>") else { panic!() };
        assert_eq!(
            text,
            "s: GET /x: expected the JSON of LXD or Incus: expected value at line 1 column 1; \
             the answer begins \"<html>\""
        );
        for body in
            ["", "[]", "{}", r#"{"type":"sync"}"#, r#"{"type":"sync","metadata":{}}"#, r#"{"type":"a"}"#]
        {
            assert!(matches!(decoded(StatusCode::OK, body), Err(ServerError::Failed(_))), "{body}");
        }
        let Err(ServerError::Refused(text)) = decoded(StatusCode::BAD_GATEWAY, "<html>") else { panic!() };
        assert_eq!(text, "s: GET /x: the server says 502; the answer begins \"<html>\"");
    }

    #[test]
    fn a_list_is_decoded_piece_by_piece() {
        let decoded = |pieces: &[&str]| {
            let each = |list: &mut Vec<String>, element: &[u8]| {
                list.push(String::from_utf8_lossy(element).into_owned());
            };
            decode_list("s: GET /x", StatusCode::OK, pieces, (Vec::new(), 10), each)
        };
        let list = decoded(&[r#"{"type":"sy"#, "", r#"nc","metadata":[1"#, "2,3]}"]).unwrap();
        assert_eq!(list, ["12", "3"]);
        let Err(ServerError::Failed(text)) = decoded(&[r#"{"type":"sync","#, r#""metadata":[1"#]) else {
            panic!()
        };
        assert!(
            text.contains("EOF") && text.ends_with(r#"begins "{\"type\":\"sync\",\"metadata\":[""#),
            "{text}"
        );
        let long = format!(r#"{{"type":"sync","metadata":"{}"}}"#, "x".repeat(2 * LARGE));
        assert!(decoded(&[&long]).is_err());
    }
}
