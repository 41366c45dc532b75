//! What a process remembers from one decision to the next.

use std::collections::BTreeSet;

use super::facts::Trust;
use super::hold::tenure::Tenure;
use super::join::{Homes, Joins};
use crate::model::Mac;

/// What this process remembers besides the kernel's state. Losing it costs time, never correctness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Which child is which NIC.
    pub joins: Joins,
    /// Which namespace is which guest's.
    pub homes: Homes,
    /// MACs with which the kernel let no shim go up, because somebody that we cannot see has them.
    pub refused_macs: BTreeSet<Mac>,
    /// Whom not to trust, and what is held without a server's word.
    pub trust: Trust,
    /// Who had which address, and who else claimed it.
    pub tenure: Tenure,
}
