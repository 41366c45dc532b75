//! The newest value of a server for who listens, and the log of its changes.

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::error::ServerError;
use super::lxd::read::Reading;
use super::target::Target;
use crate::model::ServerId;
use crate::model::inventory::{Server, ServerState};
use crate::model::text;

/// Holds the newest value. Setting it never waits, so a slow listener cannot keep us from draining the events.
pub(super) struct Published {
    id: ServerId,
    newest: watch::Sender<Server>,
}

impl Published {
    pub(super) fn new(target: &Target) -> Published {
        Published { id: target.id.clone(), newest: watch::Sender::new(target.unread()) }
    }

    /// Sends each newest value, beginning with the present one, until the receiver is gone.
    pub(super) fn forward(
        &self,
        updates: mpsc::Sender<(ServerId, Server)>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let id = self.id.clone();
        let mut newest = self.newest.subscribe();
        newest.mark_changed();
        async move {
            while newest.changed().await.is_ok() {
                let server = newest.borrow_and_update().clone();
                if updates.send((id.clone(), server)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Its socket has accepted a connection. What was wrong with it stays in view until it has been read.
    pub(super) fn reached(&self, socket: &std::path::Path) {
        self.update(|server| {
            server.socket = socket.to_owned();
            if server.state == ServerState::Absent {
                (server.state, server.message) = (ServerState::Connecting, None);
            }
        });
    }

    /// It was read.
    pub(super) fn publish(&self, reading: &Reading) {
        self.update(|server| apply(server, reading));
    }

    /// It could not be read; its guests stay as they were.
    pub(super) fn failed(&self, error: &ServerError) {
        self.update(|server| blame(server, error));
    }

    fn update(&self, change: impl FnOnce(&mut Server)) {
        self.newest.send_if_modified(|server| {
            let before = server.clone();
            change(server);
            if (server.state, &server.message) != (before.state, &before.message) {
                log(&self.id, server);
            }
            *server != before
        });
    }
}

/// Enters what was read.
pub(super) fn apply(server: &mut Server, reading: &Reading) {
    server.kind = Some(reading.info.kind);
    server.version = Some(text::words(&reading.info.version));
    server.name = Some(text::name(&reading.info.name));
    let members = reading.info.members.iter();
    server.members = members.map(|(address, name)| (*address, text::name(name))).collect();
    server.state = ServerState::Connected;
    server.message = reading.message();
    server.guests = Some(reading.guests.clone());
}

/// Enters what went wrong.
pub(super) fn blame(server: &mut Server, error: &ServerError) {
    server.state = match error {
        ServerError::Absent(_) => ServerState::Absent,
        ServerError::Failed(_) | ServerError::Refused(_) => ServerState::Failed,
        ServerError::Lost(_) => ServerState::Connecting,
    };
    server.message = Some(text::words(&error.to_string()));
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
