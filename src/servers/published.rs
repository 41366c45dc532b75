//! The newest value of a server for all listeners, and the log of its changes.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tracing::{info, warn};

use super::error::ServerError;
use super::lxd::reading::Reading;
use super::target::Target;
use crate::model::inventory::{Server, ServerState};
use crate::model::{ServerId, Timestamp, text};

/// The newest value of a server.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The value. A listener hears of it when it changes.
    pub server: Arc<Server>,
    /// When it was last read completely. No listener hears of that.
    pub last_read: Option<Timestamp>,
}

/// Holds the newest value. Setting it never waits, so a slow listener cannot keep us from reading the events.
pub(super) struct Published {
    id: ServerId,
    newest: watch::Sender<Newest>,
}

impl Published {
    /// Begins with a server that has not been heard yet.
    pub(super) fn new(target: &Target) -> (Published, watch::Receiver<Newest>) {
        let unread = Newest { server: Arc::new(target.unread()), last_read: None };
        let (newest, listener) = watch::channel(unread);
        (Published { id: target.id.clone(), newest }, listener)
    }

    /// Waits until nobody listens any more.
    pub(super) fn unheard(&self) -> impl Future<Output = ()> + Send + use<> {
        let newest = self.newest.clone();
        async move { newest.closed().await }
    }

    /// Its socket has accepted a connection. An error stays in view until the server has been read.
    pub(super) fn reached(&self, socket: &Path) {
        self.update(|before| {
            let mut server = before.clone();
            server.place = socket.display().to_string();
            if server.state == ServerState::Absent {
                (server.state, server.message) = (ServerState::Connecting, None);
            }
            server
        });
    }

    /// It was read.
    pub(super) fn publish(&self, reading: &Reading) {
        self.newest.send_if_modified(|newest| {
            newest.last_read = Some(SystemTime::now().into());
            false
        });
        self.update(|before| as_read(before, reading));
    }

    /// It could not be read. Its guests stay as they were.
    pub(super) fn failed(&self, error: &ServerError) {
        self.update(|before| as_failed(before, error));
    }

    fn update(&self, change: impl FnOnce(&Server) -> Server) {
        self.newest.send_if_modified(|newest| {
            let (server, before) = (change(&newest.server), &newest.server);
            if (server.state, &server.message) != (before.state, &before.message) {
                log(&self.id, &server);
            }
            let changed = server != **before;
            if changed {
                newest.server = Arc::new(server);
            }
            changed
        });
    }
}

/// The server after this reading.
pub(super) fn as_read(before: &Server, reading: &Reading) -> Server {
    let members = reading.info.members.iter();
    Server {
        place: before.place.clone(),
        kind: Some(reading.info.kind),
        version: Some(text::words(&reading.info.version)),
        name: Some(text::name(&reading.info.name).into()),
        state: ServerState::Connected,
        message: reading.message(),
        peers: members.map(|(address, name)| (*address, text::name(name).into())).collect(),
        guests: Some(reading.guests.clone()),
    }
}

/// The server after this error.
pub(super) fn as_failed(before: &Server, error: &ServerError) -> Server {
    let state = match error {
        ServerError::Absent(_) => ServerState::Absent,
        ServerError::Failed(_) | ServerError::Refused(_) => ServerState::Failed,
        ServerError::Lost(_) => ServerState::Connecting,
    };
    Server { state, message: Some(text::words(&error.to_string())), ..before.clone() }
}

fn log(id: &ServerId, server: &Server) {
    let guests = server.guests.as_ref().map_or(0, Vec::len);
    let version = server.version.as_deref().unwrap_or("?");
    match (server.state, &server.message) {
        (ServerState::Connected, None) => {
            info!("server {id}: connected, version {version}, macvlan guests: {guests}")
        }
        (ServerState::Connected, Some(message)) => warn!("server {id}: connected, but {message}"),
        (ServerState::Connecting, None) => info!("server {id}: connecting"),
        (ServerState::Connecting, Some(message)) => info!("server {id}: connecting again: {message}"),
        (ServerState::Absent, message) => info!("server {id}: absent: {}", message.as_deref().unwrap_or("?")),
        (ServerState::Failed, message) => warn!("server {id}: {}", message.as_deref().unwrap_or("failed")),
    }
}
