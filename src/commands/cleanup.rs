//! `macvlan-shim cleanup`: removes everything of ours from the kernel, with no config and no daemon.

use super::Failure;
use super::scratch::open_kernel;
use crate::daemon::lock;
use crate::reconcile::{Desired, diff};

/// Runs it. It refuses while a daemon runs, because that would put everything back.
pub fn cleanup(dry_run: bool) -> Result<u8, Failure> {
    let _lock = if dry_run { None } else { Some(lock::acquire()?) };
    let verb = if dry_run { "cleanup --dry-run" } else { "cleanup" };
    let mut kernel = open_kernel(verb)?;
    let unread = kernel.problems_of_host();
    for why in &unread {
        super::complain(format_args!("{why}\n  hint: objects of ours may be left there; run cleanup again"));
    }
    let plan = diff(&Desired::nothing(kernel.snapshot()), kernel.snapshot());
    if plan.is_empty() && unread.is_empty() {
        super::say(format_args!("nothing of macvlan-shim is left in this network namespace"))?;
        return Ok(super::GOOD);
    }
    let mut failed = !unread.is_empty();
    // If the reader of the output goes away, the work must not stop halfway.
    let mut told = Ok(());
    for step in &plan {
        if dry_run {
            told = told.and_then(|()| super::say(format_args!("would {}", step.op)));
            continue;
        }
        match kernel.apply(&step.op) {
            Ok(()) => told = told.and_then(|()| super::say(format_args!("{}", step.op))),
            Err(error) => {
                failed = true;
                let hint = error.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                super::complain(format_args!("{}{hint}", error.message));
            }
        }
    }
    if failed {
        return Ok(super::FAILED);
    }
    told.map(|()| super::GOOD)
}
