//! Follows one server for ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::ServerError;
use super::http::Client;
use super::known::Known;
use super::lxd::instances::{self, AnyInstance};
use super::lxd::origin::{self, NicOrigin};
use super::lxd::read;
use super::lxd::reading::Reading;
use super::lxd::running::HostPaths;
use super::patience::{Patience, Pauses};
use super::published::{Newest, Published, as_failed, as_read};
use super::questions::{GuestName, Questions};
use super::session::Session;
use super::socket_watch::SocketWatch;
use super::target::Target;
use crate::model::inventory::Server;
use crate::model::text;

/// How often we check whether a server that may be ending has ended.
const ENDING_CHECK: Duration = Duration::from_millis(50);

/// Follows one server for ever: [`Follower::follow`] on a real host.
pub fn follow(
    target: Target,
    questions: Arc<Questions>,
) -> (watch::Receiver<Newest>, impl Future<Output = ()> + Send) {
    Follower::from(target).follow(questions)
}

/// Reads one server once: [`Follower::read`] on a real host.
pub async fn read(target: &Target) -> Server {
    Follower::from(target.clone()).read().await
}

/// All instances of one server, whatever their NICs: [`Follower::instances`] on a real host.
pub async fn instances(target: &Target) -> Result<Vec<AnyInstance>, String> {
    Follower::from(target.clone()).instances().await
}

/// Where a NIC of a guest comes from: [`Follower::origin`] on a real host.
pub async fn origin(target: &Target, guest: &GuestName, nic: &str) -> Result<Option<NicOrigin>, String> {
    Follower::from(target.clone()).origin(guest, nic).await
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
    /// A follower with the patience and the host of a test.
    pub fn new(target: Target, patience: Patience, host: HostPaths) -> Follower {
        Follower { target, patience, host }
    }

    /// Reads the server once. Does not start a stopped server.
    pub async fn read(&self) -> Server {
        let mut server = self.target.unread();
        let socket = match self.host.socket(&self.target) {
            Ok(socket) => socket,
            Err(error) => return as_failed(&server, &error),
        };
        server.place = socket.display().to_string();
        match self.read_at(&socket).await {
            Ok(reading) => as_read(&server, &reading),
            Err(error) => as_failed(&server, &error),
        }
    }

    /// All instances of the server, whatever their NICs; else the reason in a sentence. Does not start a
    /// stopped server.
    pub async fn instances(&self) -> Result<Vec<AnyInstance>, String> {
        let read = async {
            let client = Client::new(&self.host.socket(&self.target)?, &self.patience)?;
            instances::instances(&client, &self.patience).await
        };
        read.await.map_err(|error| text::words(&error.to_string()))
    }

    /// Where a NIC of a guest comes from; else the reason why that is not known, in a sentence. `None` if no
    /// configuration has it. Does not start a stopped server.
    pub async fn origin(&self, guest: &GuestName, nic: &str) -> Result<Option<NicOrigin>, String> {
        let read = async {
            let client = Client::new(&self.host.socket(&self.target)?, &self.patience)?;
            origin::origin(&client, &self.patience, guest, nic).await
        };
        read.await.map_err(|error| text::words(&error.to_string()))
    }

    async fn read_at(&self, socket: &Path) -> Result<Reading, ServerError> {
        let client = Client::new(socket, &self.patience)?;
        read::read(client, self.patience.clone(), None, None, BTreeSet::new()).await
    }

    /// Follows the server. The receiver always has its newest value, at first that of a server that has not
    /// been heard. The future does the work, and ends when no receiver is left.
    pub fn follow(
        self,
        questions: Arc<Questions>,
    ) -> (watch::Receiver<Newest>, impl Future<Output = ()> + Send) {
        let (published, newest) = Published::new(&self.target);
        let following = async move {
            let unheard = published.unheard();
            tokio::select! {
                () = unheard => {}
                () = self.run(Known::new(published, questions)) => {}
            }
        };
        (newest, following)
    }

    async fn run(&self, mut known: Known) {
        let mut pauses = Pauses::new(&self.patience);
        let mut watch = SocketWatch::default();
        loop {
            let began = Instant::now();
            // Watch before we look, so that no later change is missed.
            watch.begin(&self.target);
            known.has_read = false;
            let error = match self.host.socket(&self.target) {
                Ok(socket) => self.session(&mut known, &socket).await,
                Err(error) => error,
            };
            known.published.failed(&error);
            // A server that is lost over and over gets longer and longer pauses.
            if known.has_read && began.elapsed() > self.patience.follow_ups[0] {
                pauses.reset();
            }
            if known.has_read {
                known.questions.count(|tally| tally.disconnects += 1);
                self.let_it_end(&known).await;
            }
            tokio::select! {
                () = sleep(pauses.next()) => {}
                () = known.questions.wake.notified() => {}
                // It may take several attempts until the server listens.
                () = watch.changed() => pauses.reset(),
            }
            sleep_until(began + self.patience.looks).await;
        }
    }

    /// From connecting to the loss of the connection.
    async fn session(&self, known: &mut Known, socket: &Path) -> ServerError {
        match Session::open(known, &self.patience, &self.target.id, socket).await {
            Ok((session, events)) => session.run_until_lost(events).await,
            Err(error) => error,
        }
    }

    /// A server that systemd was told to stop closes its event stream first. If we connected before it has
    /// ended, systemd might start it again. So nothing cuts this wait short.
    async fn let_it_end(&self, known: &Known) {
        let Some(pid) = known.reading.as_ref().map(|reading| reading.info.pid) else { return };
        let until = Instant::now() + self.patience.farewell;
        while self.host.may_be_ending(&self.target, pid) && Instant::now() < until {
            sleep(ENDING_CHECK).await;
        }
    }
}
