//! Follows one server for ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::ServerError;
use super::http::Client;
use super::lxd::first_process::FirstProcesses;
use super::lxd::read::{self, Reading};
use super::lxd::running::HostPaths;
use super::patience::{Patience, Pauses};
use super::published::{self, Published};
use super::questions::Questions;
use super::session::Session;
use super::socket_watch::SocketWatch;
use super::target::Target;
use crate::model::ServerId;
use crate::model::inventory::Server;

/// How often a server that may be ending is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Follows one server for ever: [`Follower::follow`] on a real host.
pub fn follow(
    target: Target,
    updates: mpsc::Sender<(ServerId, Server)>,
    questions: Arc<Questions>,
) -> impl Future<Output = ()> + Send {
    Follower::from(target).follow(updates, questions)
}

/// Reads one server once: [`Follower::read`] on a real host.
pub async fn read(target: &Target) -> Server {
    Follower::from(target.clone()).read().await
}

/// Reads one server, once or for ever.
#[derive(Clone, Debug)]
pub struct Follower {
    target: Target,
    patience: Patience,
    host: HostPaths,
}

impl From<Target> for Follower {
    fn from(target: Target) -> Follower {
        Follower { target, patience: Patience::default(), host: HostPaths::default() }
    }
}

impl Follower {
    /// With other patience and host than those of a real host, for tests.
    pub fn new(target: Target, patience: Patience, host: HostPaths) -> Follower {
        Follower { target, patience, host }
    }

    /// Reads the server once. Starts none that is stopped.
    pub async fn read(&self) -> Server {
        let mut server = self.target.unread();
        let result = match self.host.socket(&self.target) {
            Ok(socket) => {
                server.socket.clone_from(&socket);
                match Client::new(&socket, &self.patience) {
                    Ok(client) => {
                        read::read(client, self.patience.clone(), None, None, BTreeSet::new()).await
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(reading) => published::apply(&mut server, &reading),
            Err(error) => published::blame(&mut server, &error),
        }
        server
    }

    /// Follows the server: sends a whole value whenever anything of it changed, the first at once. If the receiver is
    /// slow it misses values, but never the newest. Ends when the receiver is gone.
    pub async fn follow(self, updates: mpsc::Sender<(ServerId, Server)>, questions: Arc<Questions>) {
        let published = Published::new(&self.target);
        let forward = published.forward(updates.clone());
        let first_processes = FirstProcesses::default();
        let follow =
            Follow { follower: self, published, questions, reading: None, first_processes, has_read: false };
        tokio::select! {
            () = forward => {}
            () = updates.closed() => {}
            () = follow.run() => {}
        }
    }
}

/// The state of following, over all sessions.
pub(super) struct Follow {
    follower: Follower,
    pub(super) published: Published,
    pub(super) questions: Arc<Questions>,
    /// The last one, for what the next cannot tell.
    pub(super) reading: Option<Reading>,
    pub(super) first_processes: FirstProcesses,
    /// It was read since the last connecting.
    pub(super) has_read: bool,
}

impl Follow {
    async fn run(mut self) {
        let mut pauses = Pauses::new(&self.follower.patience);
        loop {
            let began = Instant::now();
            // Before we look: what comes later is not missed.
            let watch = SocketWatch::new(&self.follower.target);
            self.has_read = false;
            let error = match self.follower.host.socket(&self.follower.target) {
                Ok(socket) => self.session(&socket).await,
                Err(error) => error,
            };
            self.published.failed(&error);
            // A server that is lost over and over is given longer and longer pauses.
            if self.has_read && began.elapsed() > self.follower.patience.follow_ups[0] {
                pauses.reset();
            }
            if self.has_read {
                self.see_off().await;
            }
            tokio::select! {
                () = sleep(pauses.next()) => {}
                () = self.questions.wake.notified() => {}
                // It may take some looks until it listens.
                () = watch.changed() => pauses.reset(),
            }
            sleep_until(began + self.follower.patience.looks).await;
        }
    }

    /// A server of systemd that was told to stop closes its event stream first. Were we to connect before it has ended,
    /// systemd might take that for a reason to start it again; so nothing cuts this short.
    async fn see_off(&self) {
        let Some(pid) = self.reading.as_ref().map(|reading| reading.info.pid) else { return };
        let until = Instant::now() + self.follower.patience.farewell;
        while self.follower.host.may_be_ending(&self.follower.target, pid) && Instant::now() < until {
            sleep(LOOK).await;
        }
    }

    /// From connecting to the loss of the connection.
    async fn session(&mut self, socket: &Path) -> ServerError {
        match Session::open(self, socket).await {
            Ok((session, events)) => session.run_until_lost(events).await,
            Err(error) => error,
        }
    }

    pub(super) fn id(&self) -> &ServerId {
        &self.follower.target.id
    }

    pub(super) fn patience(&self) -> &Patience {
        &self.follower.patience
    }
}
