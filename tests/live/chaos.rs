//! A short chaos, as `make chaos` runs it for as long as one likes.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos::{Options, run};

use crate::node::BINARY;

#[test]
fn whatever_happens_all_is_right_again_soon() -> Result<()> {
    let options = Options { binary: BINARY.to_owned(), time: Duration::from_secs(15), seed: 8, go_on: false };
    let account = run(&options, |line| println!("{line}"))?;
    println!("{account}");
    ensure!(
        account.violations.is_empty(),
        "violations, and above the whole picture:\n{:#?}",
        account.violations
    );
    ensure!(account.done() > 10, "only {} operations were done", account.done());
    Ok(())
}
