//! The views of the daemon's state, for those who ask and for the log.

use std::time::Instant;

use super::{Daemon, unread};
use crate::model::status::Problem;
use crate::report::{self, Material, Report};

impl Daemon {
    /// Counts the guests that are reached, and logs what is new about problems, now and then.
    pub(super) fn look_at_problems(&mut self) {
        let now = Instant::now();
        if self.problem_log.wake().is_some_and(|due| due <= now) {
            let problems;
            (problems, self.reach) = self.with_material(report::problems);
            self.problem_log.look(now, &problems);
        }
    }

    pub(super) fn report(&self) -> Report {
        self.with_material(Report::of)
    }

    fn with_material<T>(&self, make: impl FnOnce(&Material<'_>) -> T) -> T {
        let read = unread::problems(&self.kernel, &self.memory);
        let problems: Vec<Problem> = self.config_problem.iter().cloned().chain(read).collect();
        make(&Material {
            host: &self.host,
            config: &self.config,
            inventory: &self.inventory,
            snapshot: self.kernel.snapshot(),
            desired: &self.desired,
            joins: &self.memory.joins,
            schedule: &self.schedule,
            questions: &self.questions,
            tables: self.kernel.neighbour_tables(),
            problems: &problems,
            ready: self.ready,
            now: Instant::now(),
        })
    }
}
