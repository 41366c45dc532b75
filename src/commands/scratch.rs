//! A look from scratch: the servers and the kernel are read and everything is decided, as a daemon would do at
//! its start. Nothing is applied.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::unistd::Uid;

use super::Failure;
use crate::config::Config;
use crate::daemon::unread;
use crate::kernel::Kernel;
use crate::model::Inventory;
use crate::model::inventory::{Server, ServerState};
use crate::model::names::PROGRAM;
use crate::reconcile::Inputs;
use crate::report::{Circumstances, FromScratch, Material};
use crate::servers;

/// How long the servers may take before the user sees which of them are waited for.
const SLOW: Duration = Duration::from_secs(2);

/// Everything that was read and decided.
pub(super) struct Scratch {
    config: Config,
    inventory: Inventory,
    pub(super) kernel: Kernel,
    pub(super) decided: FromScratch,
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
        let decided = FromScratch::decide(&inputs(&config, &inventory, &kernel));
        Ok(Scratch { config, inventory, kernel, decided })
    }

    /// Makes a view of it.
    pub(super) fn view<T>(&self, view: impl FnOnce(&Material<'_>) -> T) -> T {
        let Scratch { config, inventory, kernel, decided } = self;
        let circumstances = Circumstances {
            host: "",
            time: SystemTime::now().into(),
            tables: kernel.neighbour_tables(),
            problems: &unread::problems(kernel, &decided.memory),
        };
        decided.view(&inputs(config, inventory, kernel), circumstances, view)
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

fn inputs<'a>(config: &'a Config, inventory: &'a Inventory, kernel: &'a Kernel) -> Inputs<'a> {
    Inputs { config, inventory, snapshot: kernel.snapshot(), now: Instant::now() }
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
