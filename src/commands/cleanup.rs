//! `macvlan-shim cleanup`: removes all that is ours from the kernel, with no config and no daemon.

use super::Failure;
use crate::daemon::lock;
use crate::kernel::Kernel;
use crate::reconcile::{Desired, diff};

/// What is desired when nothing is.
fn nothing() -> Desired {
    Desired { settled: true, ..Desired::default() }
}

/// Runs it. It refuses beside a running daemon, which would put everything back.
pub fn cleanup(dry_run: bool) -> Result<u8, Failure> {
    let _lock = if dry_run { None } else { Some(lock::acquire()?) };
    let mut kernel = Kernel::open()?;
    let plan = diff(&nothing(), kernel.snapshot());
    if plan.is_empty() {
        super::say(format_args!("nothing of macvlan-shim is left in this network namespace"))?;
        return Ok(0);
    }
    let mut failed = 0;
    for step in &plan {
        if dry_run {
            super::say(format_args!("would {}", step.op))?;
            continue;
        }
        match kernel.apply(&step.op) {
            Ok(()) => super::say(format_args!("{}", step.op))?,
            Err(error) => {
                failed += 1;
                eprintln!("macvlan-shim: {}", error.message);
                if let Some(hint) = error.hint {
                    eprintln!("  hint: {hint}");
                }
            }
        }
    }
    Ok(u8::from(failed > 0))
}
