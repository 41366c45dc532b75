//! A look from scratch: the servers and the kernel are read and everything is decided, as a daemon would do at
//! its start. Nothing is applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::unistd::Uid;

use super::Failure;
use crate::config::Config;
use crate::kernel::Kernel;
use crate::model::Inventory;
use crate::model::inventory::{Server, ServerState};
use crate::model::names::PROGRAM;
use crate::reconcile::{Desired, Inputs, LanQuestions, Memory, Schedule, desire};
use crate::report::Material;
use crate::servers;

/// How long the servers may take before the user sees which of them are waited for.
const SLOW: Duration = Duration::from_secs(2);

/// Everything that was read and decided.
pub(super) struct Scratch {
    config: Config,
    inventory: Inventory,
    pub(super) kernel: Kernel,
    pub(super) desired: Desired,
    memory: Memory,
}

impl Scratch {
    /// Looks, for the command of that name.
    pub(super) fn look(config_file: Option<&Path>, verb: &str) -> Result<Scratch, Failure> {
        let config = Config::load(config_file)?.config;
        let inventory = super::block_on(read_servers(&config))?;
        let mut kernel = open_kernel(verb)?;
        // MACs alone do not identify all guests.
        kernel.locate(inventory.homes());
        kernel.settle();
        let snapshot = kernel.snapshot();
        let inputs = Inputs { config: &config, inventory: &inventory, snapshot, now: Instant::now() };
        let (desired, memory) = desire(&inputs, &Memory::default());
        Ok(Scratch { config, inventory, kernel, desired, memory })
    }

    /// Makes a view of it.
    pub(super) fn with_material<T>(&self, make: impl FnOnce(&Material<'_>) -> T) -> T {
        let now = SystemTime::now().into();
        make(&Material {
            host: "",
            started: now,
            time: now,
            last_read: &BTreeMap::new(),
            config: &self.config,
            inventory: &self.inventory,
            snapshot: self.kernel.snapshot(),
            desired: &self.desired,
            memory: &self.memory,
            schedule: &Schedule::default(),
            questions: &LanQuestions::default(),
            tables: self.kernel.neighbour_tables(),
            problems: &[],
            ready: false,
            applies: false,
            now: Instant::now(),
        })
    }

    /// Complains about servers that could not be read. Absent ones matter only if all are.
    pub(super) fn complain_about_servers(&self) {
        let servers = &self.inventory.servers;
        let none_read = servers.values().all(|server| server.guests.is_none());
        let untold =
            |server: &Server| server.guests.is_none() && (none_read || server.state != ServerState::Absent);
        for (id, server) in servers.iter().filter(|(_, server)| untold(server)) {
            if let Some(message) = &server.message {
                super::complain(format_args!("{id}: {message}"));
            }
        }
    }
}

/// Opens the kernel for the command of that name.
pub(super) fn open_kernel(verb: &str) -> Result<Kernel, Failure> {
    Kernel::open().map_err(|error| match Uid::effective().is_root() {
        true => Failure::from(error),
        false => Failure::from(error).hint(format!("run it as root: sudo {PROGRAM} {verb}")),
    })
}

/// Reads all servers at the same time. If that takes long, says which of them it waits for.
pub(super) async fn read_servers(config: &Config) -> Inventory {
    let targets = servers::targets(&config.sockets(), |name| std::env::var_os(name));
    let mut readings: FuturesUnordered<_> =
        targets.iter().map(async |target| (target.id.clone(), servers::read(target).await)).collect();
    let mut inventory = Inventory::default();
    let mut slow = pin!(tokio::time::sleep(SLOW));
    loop {
        tokio::select! {
            biased;
            read = readings.next() => match read {
                Some((id, server)) => drop(inventory.servers.insert(id, Arc::new(server))),
                None => return inventory,
            },
            () = &mut slow, if !slow.is_elapsed() => {
                let missing = targets.iter().filter(|target| !inventory.servers.contains_key(&target.id));
                let missing: Vec<String> = missing.map(|target| target.id.to_string()).collect();
                super::complain(format_args!("waiting for {}", missing.join(", ")));
            }
        }
    }
}
