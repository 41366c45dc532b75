//! What a decision is made from.

use std::time::Instant;

use crate::config::Config;
use crate::model::{Inventory, Snapshot};

/// Everything that a decision is made from, besides what is remembered ([`super::Memory`]).
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What the servers say exists.
    pub inventory: &'a Inventory,
    /// What the kernel says exists.
    pub snapshot: &'a Snapshot,
    /// The time.
    pub now: Instant,
}
