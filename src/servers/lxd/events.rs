//! The event stream: a WebSocket that we only listen to. Events are not believed. They only make us read the
//! server.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::reading::Info;
use crate::servers::error::{ServerError, excerpt};
use crate::servers::patience::Patience;

const PATH: &str = "/1.0/events?type=lifecycle&all-projects=true";

/// Maximum length of an event, in bytes. Usual ones have a few hundred.
const EVENT: usize = 1 << 20;

/// An open event stream.
pub(in crate::servers) struct Events {
    stream: WebSocketStream<UnixStream>,
    /// The time of the last frame.
    received: Instant,
    silence: Duration,
}

/// A message of the stream.
pub(in crate::servers) enum Received {
    /// A sign of life.
    Life,
    /// An event, to be weighed by [`weigh`].
    Event(Vec<u8>),
}

/// Connects. The caller must go on to [`Events::open`] at once, because a silent connection blocks the
/// server.
pub(in crate::servers) async fn dial(socket: &Path, patience: &Patience) -> Result<UnixStream, ServerError> {
    let connecting = timeout(patience.connect, UnixStream::connect(socket));
    let result = connecting.await.unwrap_or_else(|late| Err(late.into()));
    result.map_err(|error| ServerError::connecting(socket, &error))
}

impl Events {
    /// Subscribes. Returns when the server has proved by its first frame that it sends us every event from
    /// now on.
    pub(in crate::servers) async fn open(
        socket: &Path,
        stream: UnixStream,
        patience: &Patience,
    ) -> Result<Events, ServerError> {
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = 16 << 10;
        config.write_buffer_size = 0;
        config.max_message_size = Some(EVENT);
        config.max_frame_size = Some(EVENT);
        let place = format!("{}: GET {PATH}", socket.display());
        let opening = client_async_with_config(format!("ws://server{PATH}"), stream, Some(config));
        let stream = match timeout(patience.answer, opening).await {
            Ok(Ok((stream, _))) => stream,
            Ok(Err(error)) => return Err(ServerError::Failed(format!("{place}: {}", refusal(error)))),
            Err(_) => {
                return Err(ServerError::Failed(format!("{place}: no answer within {:?}", patience.answer)));
            }
        };
        let mut events = Events { stream, received: Instant::now(), silence: patience.silence };
        match events.next().await {
            Ok(_) => Ok(events),
            Err(error) => Err(ServerError::Failed(format!("{place}: {error}, before the first ping"))),
        }
    }

    /// Waits for the next frame. Cancel safe.
    pub(in crate::servers) async fn next(&mut self) -> Result<Received, ServerError> {
        let lost = |why: String| Err(ServerError::Lost(why));
        let message = match timeout_at(self.received + self.silence, self.stream.next()).await {
            Err(_) => return lost(format!("the event stream was silent for {:?}", self.silence)),
            Ok(None) => return lost(ending(&Error::ConnectionClosed)),
            Ok(Some(Err(error))) => return lost(ending(&error)),
            Ok(Some(Ok(message))) => message,
        };
        self.received = Instant::now();
        match message {
            Message::Text(text) => Ok(Received::Event(text.as_bytes().to_vec())),
            Message::Binary(bytes) => Ok(Received::Event(bytes.to_vec())),
            Message::Close(_) => lost(ending(&Error::ConnectionClosed)),
            // Reading a ping queues its answer, flushing sends it. Without an answer the server hangs up.
            Message::Ping(_) => match self.stream.flush().await {
                Ok(()) => Ok(Received::Life),
                Err(error) => lost(ending(&error)),
            },
            Message::Pong(_) | Message::Frame(_) => Ok(Received::Life),
        }
    }
}

fn ending(error: &Error) -> String {
    match error {
        // The servers end without a closing handshake.
        Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the server closed the event stream".to_owned()
        }
        error => format!("the event stream is broken: {error}"),
    }
}

fn refusal(error: Error) -> String {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: String,
    }
    let Error::Http(response) = error else { return error.to_string() };
    let status = response.status().as_u16();
    let body = response.body().as_deref().unwrap_or_default();
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => format!("the server says {status}: {}", body.error),
        Err(_) => {
            format!("expected a WebSocket, but the server says {status}; the answer begins {}", excerpt(body))
        }
    }
}

/// The meaning of an event for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::servers) enum Worth {
    /// Nothing that concerns us.
    Nothing,
    /// The guests may have changed.
    Guests,
    /// The server's own configuration may have changed, and the guests too.
    Server,
    /// Guests migrate: both may change, and go on changing for a while.
    Migration,
    /// The event was not understood. The guests may have changed.
    Unknown,
}

/// Weighs an event.
pub(in crate::servers) fn weigh(event: &[u8], info: Option<&Info>) -> Worth {
    #[derive(Deserialize)]
    struct Event {
        r#type: String,
        #[serde(default)]
        location: String,
        metadata: Option<Lifecycle>,
    }
    #[derive(Deserialize)]
    struct Lifecycle {
        #[serde(default)]
        action: String,
    }
    let Ok(event) = serde_json::from_slice::<Event>(event) else { return Worth::Unknown };
    if event.r#type != "lifecycle" {
        return Worth::Nothing;
    }
    let Some(Lifecycle { action }) = event.metadata else { return Worth::Unknown };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| action.starts_with(prefix));
    if action == "instance-migrated" || begins(&["cluster-member-"]) {
        return Worth::Migration;
    }
    if action == "config-updated" || begins(&["cluster-"]) {
        return Worth::Server;
    }
    if begins(&["profile-", "network-", "project-"]) {
        return Worth::Guests;
    }
    if !begins(&["instance-"]) || begins(NOISE) {
        return Worth::Nothing;
    }
    // In a cluster every member receives the events of all guests, and each listing asks every member.
    let elsewhere = info.is_some_and(|info| info.clustered && event.location != info.name);
    if elsewhere && !event.location.is_empty() { Worth::Nothing } else { Worth::Guests }
}

/// Events of instances that leave their state and their configuration unchanged.
const NOISE: &[&str] = &[
    "instance-exec",
    "instance-console",
    // Any process in a guest can send this, as often as it likes.
    "instance-ready",
    "instance-file-",
    "instance-log-",
    "instance-metadata",
    "instance-backup-",
    "instance-snapshot-",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::ServerKind;

    fn worth(action: &str, location: &str, info: Option<&Info>) -> Worth {
        let event = serde_json::json!({"type": "lifecycle", "timestamp": "…", "location": location,
            "project": "default", "metadata": {"action": action, "source": "/1.0/instances/c1"}});
        weigh(event.to_string().as_bytes(), info)
    }

    #[test]
    fn actions_are_weighed() {
        for (action, wanted) in [
            ("instance-started", Worth::Guests),
            ("instance-of-tomorrow", Worth::Guests),
            ("instance-exec", Worth::Nothing),
            ("instance-console-retrieved", Worth::Nothing),
            ("instance-ready", Worth::Nothing),
            ("instance-file-pushed", Worth::Nothing),
            ("instance-log-retrieved", Worth::Nothing),
            ("instance-metadata-updated", Worth::Nothing),
            ("instance-backup-created", Worth::Nothing),
            ("instance-snapshot-created", Worth::Nothing),
            ("profile-updated", Worth::Guests),
            ("network-updated", Worth::Guests),
            ("project-deleted", Worth::Guests),
            ("image-created", Worth::Nothing),
            ("storage-volume-created", Worth::Nothing),
            ("instance-migrated", Worth::Migration),
            ("cluster-member-evacuated", Worth::Migration),
            ("cluster-enabled", Worth::Server),
            ("config-updated", Worth::Server),
        ] {
            assert_eq!(worth(action, "none", None), wanted, "{action}");
        }
    }

    #[test]
    fn guests_of_other_members_do_not_make_us_read() {
        let mut info = Info {
            kind: ServerKind::Lxd,
            version: "5".into(),
            name: "m1".into(),
            clustered: true,
            pid: 1,
            members: Default::default(),
        };
        assert_eq!(worth("instance-started", "m1", Some(&info)), Worth::Guests);
        assert_eq!(worth("instance-started", "", Some(&info)), Worth::Guests);
        assert_eq!(worth("instance-started", "m2", Some(&info)), Worth::Nothing);
        assert_eq!(worth("instance-migrated", "m2", Some(&info)), Worth::Migration);
        assert_eq!(worth("profile-updated", "m2", Some(&info)), Worth::Guests);
        info.clustered = false;
        assert_eq!(worth("instance-started", "none", Some(&info)), Worth::Guests);
    }

    #[test]
    fn an_event_that_is_not_understood_counts_as_a_change() {
        assert_eq!(weigh(b"{\"type\":\"lifecycle\",\"metad", None), Worth::Unknown);
        assert_eq!(weigh(b"{\"type\":\"lifecycle\"}", None), Worth::Unknown);
        assert_eq!(weigh(b"{\"type\":\"logging\",\"metadata\":{}}", None), Worth::Nothing);
    }
}
