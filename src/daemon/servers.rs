//! The followers of all servers, one task each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::model::tally::ServerTally;
use crate::model::{GuestKey, Inventory, ServerId, Timestamp};
use crate::servers::{self, GuestName, Newest, Questions};

/// The servers that are followed.
#[derive(Default)]
pub(super) struct Servers(BTreeMap<ServerId, Followed>);

struct Followed {
    candidates: Vec<PathBuf>,
    newest: watch::Receiver<Newest>,
    questions: Arc<Questions>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    /// Waits for another value. Cancel safe.
    async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // A follower ends only with its listener. Without it, the last value stays.
            std::future::pending().await
        }
    }
}

impl Servers {
    /// Follows the servers of a configuration. Those that are already followed go on undisturbed, and those
    /// that are no longer configured are forgotten.
    pub(super) fn follow(&mut self, configured: &[PathBuf], inventory: &mut Inventory) {
        let targets = servers::targets(configured, |name| std::env::var_os(name));
        self.0.retain(|id, followed| {
            targets.iter().any(|target| target.id == *id && target.candidates == followed.candidates)
        });
        for target in targets {
            if self.0.contains_key(&target.id) {
                continue;
            }
            let (id, candidates) = (target.id.clone(), target.candidates.clone());
            let questions = Arc::new(Questions::default());
            let (mut newest, following) = servers::follow(target, Arc::clone(&questions));
            inventory.servers.insert(id.clone(), Arc::clone(&newest.borrow_and_update().server));
            let task = tokio::spawn(following);
            self.0.insert(id, Followed { candidates, newest, questions, task });
        }
        inventory.servers.retain(|id, _| self.0.contains_key(id));
    }

    /// Waits for news of a server and takes in all news. Returns whether they change anything. Cancel safe.
    pub(super) async fn heard(&mut self, inventory: &mut Inventory) -> bool {
        let mut news: FuturesUnordered<_> = self.0.values_mut().map(Followed::changed).collect();
        if news.next().await.is_none() {
            // Nobody is followed.
            return std::future::pending().await;
        }
        drop(news);
        let mut changed = false;
        for (id, followed) in &mut self.0 {
            let newest = followed.newest.borrow_and_update();
            if inventory.servers.get(id) != Some(&newest.server) {
                inventory.servers.insert(id.clone(), Arc::clone(&newest.server));
                changed = true;
            }
        }
        changed
    }

    /// When each server was last read completely.
    pub(super) fn last_read(&self) -> BTreeMap<ServerId, Timestamp> {
        let read =
            |(id, followed): (&ServerId, &Followed)| Some((id.clone(), followed.newest.borrow().last_read?));
        self.0.iter().filter_map(read).collect()
    }

    /// The numbers of each server.
    pub(super) fn tallies(&self) -> BTreeMap<ServerId, ServerTally> {
        self.0.iter().map(|(id, followed)| (id.clone(), followed.questions.tally())).collect()
    }

    /// These servers may have started a guest, or be back.
    pub(super) fn look(&self, servers: &BTreeSet<ServerId>) {
        for followed in servers.iter().filter_map(|id| self.0.get(id)) {
            followed.questions.look();
        }
    }

    /// The children of these guests cannot be told apart by their MACs. Their servers are asked for their
    /// first processes.
    pub(super) fn ask_first_processes(&self, guests: &BTreeSet<GuestKey>) {
        for (id, followed) in &self.0 {
            let its = guests.iter().filter(|guest| guest.server == *id);
            let name =
                |guest: &GuestKey| GuestName { project: guest.project.clone(), name: guest.name.clone() };
            let names = its.map(name).collect();
            followed.questions.ask_first_processes(names);
        }
    }
}
