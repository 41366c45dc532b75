//! The followers of all servers, one task each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::inventory::Server;
use crate::model::{GuestKey, Inventory, ServerId};
use crate::servers::{self, Questions};

/// The followers, and what they send.
pub(super) struct Servers {
    followers: BTreeMap<ServerId, Follower>,
    sender: mpsc::Sender<(ServerId, Server)>,
    receiver: mpsc::Receiver<(ServerId, Server)>,
}

struct Follower {
    candidates: Vec<PathBuf>,
    questions: Arc<Questions>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Servers {
    fn default() -> Servers {
        let (sender, receiver) = mpsc::channel(16);
        Servers { followers: BTreeMap::new(), sender, receiver }
    }
}

impl Servers {
    /// Follows the servers of a configuration; those that are followed already go on undisturbed, and
    /// those that are no longer followed are forgotten.
    pub(super) fn follow(&mut self, configured: &[PathBuf], inventory: &mut Inventory) {
        // What those have said already that are stopped now must not pass for the word of others with their id.
        self.take_in(inventory);
        let targets = servers::targets(configured, |name| std::env::var_os(name));
        self.followers.retain(|id, follower| {
            targets.iter().any(|target| target.id == *id && target.candidates == follower.candidates)
        });
        for target in targets {
            if self.followers.contains_key(&target.id) {
                continue;
            }
            let questions = Arc::new(Questions::default());
            let id = target.id.clone();
            let candidates = target.candidates.clone();
            inventory.servers.insert(id.clone(), target.unread());
            let task = tokio::spawn(servers::follow(target, self.sender.clone(), Arc::clone(&questions)));
            self.followers.insert(id, Follower { candidates, questions, task });
        }
        inventory.servers.retain(|id, _| self.followers.contains_key(id));
    }

    /// Waits for news of a server and takes in all that there are; says whether they change anything.
    pub(super) async fn heard(&mut self, inventory: &mut Inventory) -> bool {
        let Some(first) = self.receiver.recv().await else {
            // We hold a sender ourselves.
            return std::future::pending().await;
        };
        let changed = self.enter(first, inventory);
        self.take_in(inventory) || changed
    }

    /// Takes in all news that there are; says whether they change anything.
    fn take_in(&mut self, inventory: &mut Inventory) -> bool {
        let mut changed = false;
        while let Ok(news) = self.receiver.try_recv() {
            changed |= self.enter(news, inventory);
        }
        changed
    }

    fn enter(&self, (id, server): (ServerId, Server), inventory: &mut Inventory) -> bool {
        if !self.followers.contains_key(&id) || inventory.servers.get(&id) == Some(&server) {
            return false;
        }
        inventory.servers.insert(id, server);
        true
    }

    /// These servers may have started a guest, or be back.
    pub(super) fn look(&self, servers: &BTreeSet<ServerId>) {
        for follower in servers.iter().filter_map(|id| self.followers.get(id)) {
            follower.questions.look();
        }
    }

    /// These guests' children cannot be told by their MACs: their servers shall tell their first processes.
    pub(super) fn ask_inits(&self, guests: &BTreeSet<GuestKey>) {
        for (id, follower) in &self.followers {
            let its = guests.iter().filter(|guest| guest.server == *id);
            follower
                .questions
                .ask_first_processes(its.map(|guest| (guest.project.clone(), guest.name.clone())).collect());
        }
    }
}
