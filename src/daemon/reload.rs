//! Another configuration while the daemon runs.

use super::Daemon;
use super::servers::Servers;
use crate::config::{Config, Loaded};
use crate::model::Code;
use crate::model::status::Problem;
use crate::model::tally::ResyncTrigger;

impl Daemon {
    /// Loads the configuration again and looks at everything again. If the file is faulty, the running
    /// configuration stays and a problem says so.
    pub(super) fn reload(&mut self, servers: &mut Servers) {
        match Config::load(self.config_file.as_deref()) {
            Ok(Loaded { config, .. }) => {
                tracing::info!("configuration reloaded");
                servers.follow(&config.sockets(), &mut self.inventory);
                self.config = config;
                self.config_problem = None;
                self.counters.configured();
                self.schedule.retry();
            }
            Err(error) => {
                tracing::error!("the running configuration is kept, because the new one is faulty: {error}");
                self.config_problem = Some(Problem::new(
                    Code::ConfigRejected,
                    "configuration",
                    format!(
                        "the running configuration is kept, because the new one is faulty: {}",
                        error.summary()
                    ),
                    "correct it (macvlan-shim config check) and reload",
                ));
            }
        }
        self.counters.resync(ResyncTrigger::Reload);
        self.kernel.resync();
        self.dirty = true;
    }
}
