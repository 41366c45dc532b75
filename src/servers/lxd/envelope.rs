//! Takes the answers of LXD and Incus out of the envelope that is around each.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};

use super::elements::Elements;
use crate::servers::error::{ServerError, excerpt};
use crate::servers::http::{Client, LARGE, Reply};

/// `GET path`. Returns the metadata of the answer.
pub(super) async fn get<T>(client: &Client, path: &str, timeout: Duration) -> Result<T, ServerError>
where
    T: DeserializeOwned + Send + 'static,
{
    let read = |reply: Reply<'_>| {
        let pieces: Vec<_> = reply.pieces.collect();
        decode(reply.place, reply.status, &pieces.concat())
    };
    client.get(path, timeout, client.max_answer, read).await
}

/// The same for a list, which may be long. `each` puts an element into the list that is `kept`, and gets no
/// more of it than one byte beyond the given length.
pub(super) async fn list<T: Send + 'static>(
    client: &Client,
    path: &str,
    timeout: Duration,
    kept: (T, usize),
    each: fn(&mut T, &[u8]),
) -> Result<T, ServerError> {
    client.get(path, timeout, client.max_list, move |reply| decode_list(reply, kept, each)).await
}

/// A successful reply that arrives in these pieces, without a server.
pub(super) fn recorded<'a>(pieces: &'a [&'a [u8]]) -> Reply<'a> {
    let pieces = pieces.iter().map(|piece| piece.to_vec().into());
    Reply { place: "s: GET /x", status: StatusCode::OK, pieces: Box::new(pieces) }
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

/// Decodes a list.
pub(super) fn decode_list<T>(
    reply: Reply<'_>,
    (mut kept, most): (T, usize),
    each: fn(&mut T, &[u8]),
) -> Result<T, ServerError> {
    let mut elements = Elements::new(most);
    for piece in reply.pieces {
        elements.take_in(&piece, |element| each(&mut kept, element));
        if elements.rest().len() > LARGE {
            break; // it is no list
        }
    }
    decode::<Option<Vec<IgnoredAny>>>(reply.place, reply.status, elements.rest()).map(|_| kept)
}

/// Decodes an answer that has arrived completely.
fn decode<T: DeserializeOwned>(place: &str, status: StatusCode, body: &[u8]) -> Result<T, ServerError> {
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
            let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            let each = |list: &mut Vec<String>, element: &[u8]| {
                list.push(String::from_utf8_lossy(element).into_owned());
            };
            decode_list(recorded(&pieces), (Vec::new(), 10), each)
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
