//! Everything that is known of one server, over all sessions with it.

use std::sync::Arc;

use super::lxd::first_process::{FirstProcess, FirstProcesses};
use super::lxd::reading::Reading;
use super::published::Published;
use super::questions::Questions;

/// The knowledge of a server, and the questions to it.
pub(super) struct Known {
    pub(super) published: Published,
    pub(super) questions: Arc<Questions>,
    /// The last reading, because the next one may not be complete. A listing that is under way shares it.
    pub(super) reading: Option<Arc<Reading>>,
    pub(super) first_processes: FirstProcesses,
    /// It was read since we last connected.
    pub(super) has_read: bool,
}

impl Known {
    pub(super) fn new(published: Published, questions: Arc<Questions>) -> Known {
        let first_processes = FirstProcesses::default();
        Known { published, questions, reading: None, first_processes, has_read: false }
    }

    /// Enters a new reading and publishes it.
    pub(super) fn enter(&mut self, mut reading: Reading) {
        self.first_processes.listed(&mut reading);
        self.published.publish(&reading);
        self.reading = Some(Arc::new(reading));
        self.has_read = true;
    }

    /// Enters the server's answer about one guest.
    pub(super) fn answered(&mut self, answer: FirstProcess) {
        let Known { first_processes, reading: Some(reading), published, .. } = self else { return };
        if let Some((guest, pid)) = first_processes.answered(answer) {
            Arc::make_mut(reading).enter_first_process(&guest, pid);
            published.publish(reading);
        }
    }
}
