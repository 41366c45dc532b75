//! The material of a report.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::config::Config;
use crate::model::dropped::DroppedPackets;
use crate::model::neighbours::NeighbourTable;
use crate::model::status::Problem;
use crate::model::{Inventory, Op, ServerId, Snapshot, Timestamp};
use crate::reconcile::facts::Facts;
use crate::reconcile::schedule::Error;
use crate::reconcile::{Desired, LanQuestions, Memory, Schedule};

/// Everything that the daemon knows when a report is made.
pub struct Material<'a> {
    /// The name of the host.
    pub host: &'a str,
    /// When the daemon started.
    pub started: Timestamp,
    /// The time of the report, by the wall clock.
    pub time: Timestamp,
    /// When each server was last read completely.
    pub last_read: &'a BTreeMap<ServerId, Timestamp>,
    /// The configuration.
    pub config: &'a Config,
    /// The servers and their guests.
    pub inventory: &'a Inventory,
    /// The state of the kernel.
    pub snapshot: &'a Snapshot,
    /// The decisions.
    pub desired: &'a Desired,
    /// The memory that the decisions left: among others the owner of each child, and the reason.
    pub memory: &'a Memory,
    /// The outcome of the plan that followed.
    pub schedule: &'a Schedule,
    /// The questions to the LAN.
    pub questions: &'a LanQuestions,
    /// How full the kernel's neighbour tables are.
    pub tables: &'a [NeighbourTable],
    /// The packets that the filters of shims have dropped.
    pub dropped: &'a [DroppedPackets],
    /// Problems that are neither a server's nor a decision's.
    pub problems: &'a [Problem],
    /// Whether every present server was read and the plan applied.
    pub ready: bool,
    /// Whether somebody applies the plan. Without a daemon nobody does.
    pub applies: bool,
    /// The time of the report.
    pub now: Instant,
}

impl<'a> Material<'a> {
    /// The facts that every verdict depends on.
    pub(super) fn facts(&self) -> Facts<'a> {
        let Material { snapshot, config, desired, memory, .. } = *self;
        Facts { snapshot, config, host: &desired.host, trust: &memory.trust }
    }

    /// Why the shim of that name could not be made or completed.
    pub(super) fn failure_of_shim(&self, shim: &str) -> Option<&Error> {
        let makes = |op: &Op| {
            matches!(
                op,
                Op::Rename { .. }
                    | Op::CreateShim { .. }
                    | Op::Mark { .. }
                    | Op::SetMac { .. }
                    | Op::SetMtu { .. }
                    | Op::SetFlags { .. }
                    | Op::Set { .. }
                    | Op::SetUp { .. }
            )
        };
        let mut failures = self.schedule.failures_at(None);
        failures.find(|(op, _)| makes(op) && op.object().0 == shim).map(|(_, error)| error)
    }

    /// Why an address has no route through that shim, or no neighbour entry.
    pub(super) fn failure_of_address(&self, shim: &str, address: IpAddr) -> Option<&Error> {
        let makes = |op: &Op| matches!(op, Op::SetNeighbour { .. } | Op::SetRoute { .. });
        let mut failures = self.schedule.failures_at(Some(address));
        failures.find(|(op, _)| makes(op) && op.object().0 == shim).map(|(_, error)| error)
    }
}
