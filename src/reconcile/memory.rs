//! The memory of a process from one decision to the next.

use std::collections::BTreeSet;

use super::desired::Desired;
use super::facts::Trust;
use super::hold::tenure::Tenure;
use super::join::{Homes, Joins};
use super::schedule::Walked;
use crate::model::{Code, Mac, Op};

/// The memory of this process besides the kernel's state. Losing it costs time, never correctness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The owners of children, and the reasons.
    pub joins: Joins,
    /// The namespaces of guests.
    pub homes: Homes,
    /// MACs that kept a shim from going up, because a link that we cannot see has them.
    pub refused_macs: BTreeSet<Mac>,
    /// The memory of distrust, and of unclaimed addresses that are held.
    pub trust: Trust,
    /// The former holders and claimants of addresses.
    pub tenure: Tenure,
}

impl Memory {
    /// Takes in the MACs that the kernel refused in a walk, because links that we cannot see have them.
    /// Returns whether everything must be decided again.
    pub fn take_in(&mut self, desired: &Desired, walked: &[Walked<'_>]) -> bool {
        let is_taken = |one: &&Walked<'_>| {
            one.result()
                .is_some_and(|result| result.as_ref().is_err_and(|error| error.code == Code::MacTaken))
        };
        let taken: Vec<&Op> = walked.iter().filter(is_taken).map(|one| &one.step.op).collect();
        self.refused_macs.extend(taken.iter().filter_map(|op| mac_meant_by(desired, op)));
        !taken.is_empty()
    }
}

/// The MAC of the shim that an op makes or sets up. The kernel refuses it only when the shim goes up.
fn mac_meant_by(desired: &Desired, op: &Op) -> Option<Mac> {
    let (Op::CreateShim { shim, .. } | Op::SetUp { shim }) = op else { return None };
    desired.shims.values().find(|desired| desired.link.name == shim.name).map(|desired| desired.mac)
}
