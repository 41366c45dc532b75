//! The inputs of a decision.

use std::time::Instant;

use crate::config::Config;
use crate::model::{Inventory, Snapshot};

/// All inputs of a decision except the memory ([`super::Memory`]).
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// The time.
    pub now: Instant,
}
