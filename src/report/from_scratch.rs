//! A decision with no daemon's memory, for the commands that work without a daemon.

use std::collections::BTreeMap;

use super::material::Material;
use crate::model::Timestamp;
use crate::model::neighbours::NeighbourTable;
use crate::model::status::Problem;
use crate::reconcile::{Desired, Inputs, LanQuestions, Memory, Schedule, desire};

/// The decisions that a daemon would make at its start. Nothing is applied.
pub struct FromScratch {
    /// The decisions.
    pub desired: Desired,
    /// The memory that they leave.
    pub memory: Memory,
}

/// What a report needs besides the decisions and their inputs.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The name of the host.
    pub host: &'a str,
    /// The time by the wall clock.
    pub time: Timestamp,
    /// How full the kernel's neighbour tables are.
    pub tables: &'a [NeighbourTable],
    /// Problems that are neither a server's nor a decision's.
    pub problems: &'a [Problem],
}

impl FromScratch {
    /// Decides everything.
    pub fn decide(inputs: &Inputs<'_>) -> FromScratch {
        let (desired, memory) = desire(inputs, &Memory::default());
        FromScratch { desired, memory }
    }

    /// Makes a view of the decisions, given their inputs again.
    pub fn view<T>(
        &self,
        inputs: &Inputs<'_>,
        circumstances: Circumstances<'_>,
        view: impl FnOnce(&Material<'_>) -> T,
    ) -> T {
        let Inputs { config, inventory, snapshot, now } = *inputs;
        let Circumstances { host, time, tables, problems } = circumstances;
        view(&Material {
            host,
            started: time,
            time,
            last_read: &BTreeMap::new(),
            config,
            inventory,
            snapshot,
            desired: &self.desired,
            memory: &self.memory,
            schedule: &Schedule::default(),
            questions: &LanQuestions::default(),
            tables,
            dropped: &[],
            problems,
            ready: inventory.settled(),
            applies: false,
            now,
        })
    }
}
