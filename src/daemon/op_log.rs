//! The log of operations: one line each. Details are logged at level debug.

use tracing::field::display;

use super::log_fields::{DONE, FAILED, SubjectFields};
use crate::model::{NicKey, Op, Step};
use crate::reconcile::schedule::Error;

/// Logs a step that ran, for the NIC whose address it is about.
pub(super) fn tell(step: &Step, result: &Result<(), Error>, nic: Option<&NicKey>) {
    let detail = matches!(
        step.op,
        Op::Set { .. }
            | Op::SetFlags { .. }
            | Op::SetNeighbour { .. }
            | Op::DeleteNeighbour { .. }
            | Op::ReleaseNeighbour { .. }
    );
    let Step { op, why, .. } = step;
    let SubjectFields { server, project, guest, nic } = SubjectFields::of_nic(nic);
    let address = op.address().map(display);
    macro_rules! log {
        ($level:ident, $id:expr, $($sentence:tt)+) => {
            tracing::$level!(
                message_id = $id, server, project, guest, nic, address, action = %op, reason = why, $($sentence)+
            )
        };
    }
    match result {
        Ok(()) if detail => log!(debug, DONE, "{op}: {why}"),
        Ok(()) => log!(info, DONE, "{op}: {why}"),
        Err(Error { message, hint: Some(hint), .. }) => log!(warn, FAILED, "{message}; {hint}"),
        Err(Error { message, hint: None, .. }) => log!(warn, FAILED, "{message}"),
    }
}
