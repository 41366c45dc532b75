//! `make chaos`: see the library.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use chaos::{Length, Options, Pace, run};

const USAGE: &str = "usage: chaos PATH-OF-macvlan-shim [--seconds N] [--seed N] [--hurry] [--go-on]";

fn main() -> Result<ExitCode> {
    let options = options()?;
    let account = run(&options, |line| println!("{line}"))?;
    println!("\n{account}");
    Ok(if account.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options() -> Result<Options> {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().context(USAGE)?;
    let path =
        std::fs::canonicalize(&binary).with_context(|| format!("{binary} is not there; run make build"))?;
    let binary = path.to_str().context("the path is no text")?.to_owned();
    let mut seconds = 120;
    let mut options =
        Options { binary, length: Length::Bursts(0), pace: Pace::Steady, seed: any_seed(), go_on: false };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            arguments.next().context(USAGE)?.parse().with_context(|| format!("{argument}: {USAGE}"))
        };
        match argument.as_str() {
            "--seconds" => seconds = number()?,
            "--hurry" => options.pace = Pace::Hurry,
            "--seed" => options.seed = number()?,
            "--go-on" => options.go_on = true,
            _ => bail!(USAGE),
        }
    }
    options.length = Length::Time(Duration::from_secs(seconds));
    println!("chaos for {seconds} s, seed {}", options.seed);
    Ok(options)
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) % 1_000_000
}
