//! One file for each verb. A command prints its result and returns its exit status, or a [`Failure`], which
//! `main` prints.
//!
//! | module | verb |
//! | --- | --- |
//! | [`run`] | the daemon |
//! | [`status`] | the daemon's view; `table` prints it |
//! | [`events`] | what has changed |
//! | [`explain`](mod@explain) | why something is reached, or why not |
//! | [`doctor`] | everything on the host that keeps guests and host apart |
//! | [`metrics`] | the daemon's numbers for Prometheus |
//! | [`plan`] | the changes that the daemon would make |
//! | [`cleanup`] | removes everything of ours |
//! | [`config`] | checks or shows the configuration |
//!
//! They share `ask`, which asks the daemon, and `scratch`, which looks without one.

mod ask;
pub mod cleanup;
pub mod config;
pub mod doctor;
pub mod events;
pub mod explain;
mod failure;
mod log;
pub mod metrics;
mod output;
pub mod plan;
mod programs;
pub mod run;
mod scratch;
pub mod status;
mod table;

pub use failure::Failure;

use std::fmt;
use std::future::Future;
use std::io::{self, Write};

use crate::cli::{Cli, Command, Files};

/// Good.
pub const GOOD: u8 = 0;
/// The operation failed, there is a problem, or another daemon holds the lock.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const WRONG_USAGE: u8 = 2;
/// `status` or `events` found no daemon.
pub const NO_DAEMON: u8 = 3;

/// Runs the command of the command line. The exit status is one of this module's constants.
pub fn execute(cli: Cli) -> Result<u8, Failure> {
    let Files { config, socket } = cli.files;
    match cli.command {
        Command::Run { log_format } => {
            let _log = log::start(log_format);
            run::run(config, &socket)
        }
        Command::Events(arguments) => events::events(&socket, &arguments),
        Command::Status(arguments) => status::status(&socket, arguments),
        Command::Explain(arguments) => explain::explain(config.as_deref(), &socket, &arguments),
        Command::Metrics => metrics::metrics(&socket),
        Command::Plan { json } => plan::plan(config.as_deref(), json),
        Command::Doctor(arguments) => doctor::doctor(&Files { config, socket }, &arguments),
        Command::Cleanup { dry_run } => cleanup::cleanup(dry_run),
        Command::Config(command) => config::config(config.as_deref(), command),
    }
}

/// Prints a line of the result.
fn say(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{line}").map_err(|error| Failure::output(&error))
}

/// Reports a fault that does not end the command. If that fails, nobody is left to tell.
fn complain(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{}: {line}", crate::model::names::PROGRAM);
}

/// Runs one task on this thread. Work that it has begun on other threads ends with the process.
fn block_on<T>(task: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start").because(&error))?;
    let result = runtime.block_on(task);
    runtime.shutdown_background();
    Ok(result)
}
