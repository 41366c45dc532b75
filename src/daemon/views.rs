//! The views of the daemon's state, for those who ask and for the log.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::servers::Servers;
use super::{Daemon, unread};
use crate::model::explanation::{Explanations, Sought};
use crate::model::status::Problem;
use crate::model::{NicKey, Op, Tally};
use crate::report::{Material, Report, conflicts, explain, summary};

impl Daemon {
    /// Looks at what has changed, now and then, for the log and the history.
    pub(super) fn look(&mut self, servers: &Servers) {
        let now = Instant::now();
        if self.problem_log.wake().is_some_and(|due| due <= now) {
            let report = self.report(servers);
            self.problem_log.look(now, &report.status.problems);
        }
    }

    /// The daemon in one line, as of the last report.
    pub(super) fn summary(&self) -> String {
        let status = &self.chronicle.last().status;
        summary(&self.inventory, status.counts, status.problems.len())
    }

    /// The present report.
    pub(super) fn report(&mut self, servers: &Servers) -> Arc<Report> {
        let conflicts = self.with_material(servers, conflicts);
        self.counters.conflicts(conflicts);
        let mut report = self.with_material(servers, Report::of);
        report.figures.tally = Tally {
            servers: servers.tallies(),
            netlink: self.kernel.tally(),
            ..self.counters.tally().clone()
        };
        self.chronicle.take_in(report, Instant::now())
    }

    /// The explanation of something.
    pub(super) fn explain(&self, servers: &Servers, sought: &Sought) -> Arc<Explanations> {
        Arc::new(self.with_material(servers, |material| explain(material, sought)))
    }

    /// The NIC that has the address of an operation, or had it until lately.
    pub(super) fn whose(&self, op: &Op) -> Option<NicKey> {
        let address = op.address()?;
        match self.desired.held.holders.get(&address) {
            Some(holder) => holder.nic.clone(),
            None => self.chronicle.had(address),
        }
    }

    fn with_material<T>(&self, servers: &Servers, make: impl FnOnce(&Material<'_>) -> T) -> T {
        let read = unread::problems(&self.kernel, &self.memory);
        let problems: Vec<Problem> = self.config_problem.iter().cloned().chain(read).collect();
        make(&Material {
            host: &self.host,
            started: self.started,
            time: SystemTime::now().into(),
            last_read: &servers.last_read(),
            config: &self.config,
            inventory: &self.inventory,
            snapshot: self.kernel.snapshot(),
            desired: &self.desired,
            memory: &self.memory,
            schedule: &self.schedule,
            questions: &self.questions,
            tables: self.kernel.neighbour_tables(),
            dropped: self.kernel.dropped_packets(),
            problems: &problems,
            ready: self.ready,
            applies: true,
            now: Instant::now(),
        })
    }
}
