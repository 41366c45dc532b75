//! Arguments → command → exit status.

use std::process::ExitCode;

use clap::Parser;
use macvlan_shim::cli::Cli;
use macvlan_shim::commands;

fn main() -> ExitCode {
    match commands::execute(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit)
        }
    }
}
