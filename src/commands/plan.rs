//! `macvlan-shim plan`: what `run` would change now. Changes nothing.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

use super::Failure;
use crate::config::Config;
use crate::kernel::Kernel;
use crate::model::inventory::{Server, ServerState};
use crate::model::{Inventory, Severity};
use crate::reconcile::{Inputs, Memory, desire, diff};
use crate::servers;

/// How long the servers may take before the user sees which of them are waited for.
const SLOW: Duration = Duration::from_secs(2);

/// One step, as `--json` shows it.
#[derive(Serialize)]
struct StepView {
    op: String,
    why: String,
    after_breath: bool,
}

/// Runs it.
pub fn plan(config_file: Option<PathBuf>, json: bool) -> Result<u8, Failure> {
    let config = Config::load(config_file.as_deref())?.config;
    let inventory = super::block_on(read_servers(&config))?;
    let kernel = Kernel::open()?;
    let snapshot = kernel.snapshot();
    let inputs = Inputs { config: &config, inventory: &inventory, snapshot, now: Instant::now() };
    let (desired, _) = desire(&inputs, &Memory::default());
    let plan = diff(&desired, kernel.snapshot());
    let none_read = inventory.servers.values().all(|server| server.guests.is_none());
    let untold =
        |server: &Server| server.guests.is_none() && (none_read || server.state != ServerState::Absent);
    for (id, server) in inventory.servers.iter().filter(|(_, server)| untold(server)) {
        if let Some(message) = &server.message {
            super::complain(format_args!("{id}: {message}"));
        }
    }
    let problems = desired.all_problems(snapshot);
    for problem in &problems {
        super::complain(format_args!("{}: {}\n  hint: {}", problem.object, problem.message, problem.hint));
    }
    // They keep something from being done, so the plan is not all that is wanted.
    let in_the_way = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let exit = if in_the_way > 0 { super::FAILED } else { super::GOOD };
    if json {
        let view = plan.iter().map(|step| StepView {
            op: step.op.to_string(),
            why: step.why.clone(),
            after_breath: step.when.waits(),
        });
        let view: Vec<StepView> = view.collect();
        super::say(format_args!("{}", serde_json::to_string_pretty(&view)?))?;
        return Ok(exit);
    }
    match (plan.is_empty(), in_the_way) {
        (false, _) => {}
        (true, 0) => super::say(format_args!("nothing to do: the kernel's state is as it should be"))?,
        (true, 1) => super::say(format_args!("nothing can be done: 1 problem stands in the way"))?,
        (true, more) => super::say(format_args!("nothing can be done: {more} problems stand in the way"))?,
    }
    for step in &plan {
        super::say(format_args!("{}: {}", step.op, step.why))?;
    }
    Ok(exit)
}

/// Reads all servers at the same time. If that takes long, says which of them it waits for.
async fn read_servers(config: &Config) -> Inventory {
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
