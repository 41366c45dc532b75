//! A stopped server whose socket stays. systemd listens there and starts the server for the first client.

use std::time::Duration;

use anyhow::Result;

use crate::Server;
use crate::enter::PATH;

impl Server {
    /// Stops the daemon as `systemctl stop` does if its socket unit stays: `systemd-socket-activate` listens
    /// in its place, and also looks like the init in `/proc`. A client that connects starts the daemon again.
    ///
    /// # Errors
    /// If the daemon does not run or does not end.
    pub fn stop_behind_socket(&self) -> Result<()> {
        self.stop_daemon()?;
        // Before it listens, it looks like the init to everybody.
        let listen = format!(
            "mkdir -p /run/systemd/system; umount /proc/1/fd 2>/dev/null || :; mount --bind /proc/$$/fd /proc/1/fd; \
             exec systemd-socket-activate -l {} --fdname=unix -E HOME -E PATH={PATH} \"$@\"",
            self.kind().socket()
        );
        let daemon = self.machine().spawn(&[&["sh", "-ec", &listen, "sh"], self.kind().daemon()].concat())?;
        daemon.wait_line("Listening on", Duration::from_secs(30))?;
        self.set_daemon(daemon);
        Ok(())
    }

    /// Whether somebody has connected since [`Server::stop_behind_socket`].
    ///
    /// # Errors
    /// If neither the daemon nor its stand-in listener runs.
    pub fn was_connected_to(&self) -> Result<bool> {
        self.with_daemon(|daemon| {
            Ok(daemon.output().iter().any(|line| line.contains("Communication attempt")))
        })
    }
}
