//! The log of operations: one line each. Details are logged at level debug.

use crate::model::{Op, Step};
use crate::reconcile::schedule::Error;

/// Logs a step that ran.
pub(super) fn tell(step: &Step, result: &Result<(), Error>) {
    let detail = matches!(
        step.op,
        Op::Set { .. }
            | Op::SetFlags { .. }
            | Op::SetNeighbour { .. }
            | Op::DeleteNeighbour { .. }
            | Op::ReleaseNeighbour { .. }
    );
    match result {
        Ok(()) if detail => tracing::debug!("{}: {}", step.op, step.why),
        Ok(()) => tracing::info!("{}: {}", step.op, step.why),
        Err(Error { message, hint: Some(hint), .. }) => tracing::warn!("{message}; {hint}"),
        Err(Error { message, hint: None, .. }) => tracing::warn!("{message}"),
    }
}
