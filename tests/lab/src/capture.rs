//! Frames on a link, as tcpdump prints them.

use std::time::Duration;

use anyhow::Result;

use crate::{Daemon, Machine};

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Daemon,
}

impl Machine {
    /// Captures the frames of a link that match a pcap filter (`""` for all), printed with their link-level
    /// header. It is already capturing when it returns.
    ///
    /// # Errors
    /// With tcpdump's complaint about the link or the filter.
    pub fn capture(&self, link: &str, filter: &str) -> Result<Capture> {
        let mut command = self.command("tcpdump");
        command.args(["-n", "-e", "-l", "--immediate-mode", "-Z", "root", "-i", link, filter]);
        let tcpdump = self.daemon(command)?;
        tcpdump.wait_line("listening on", Duration::from_secs(30))?;
        Ok(Capture { tcpdump })
    }
}

impl Capture {
    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.tcpdump.stdout();
        lines.retain(|line| !line.is_empty()); // it ends with an empty one
        lines
    }

    /// Waits for a line that contains `pattern` and returns it.
    ///
    /// # Errors
    /// With the lines so far, if none matches within `within`.
    pub fn wait_line(&self, pattern: &str, within: Duration) -> Result<String> {
        self.tcpdump.wait_line(pattern, within)
    }

    /// Ends the capture and returns all its lines.
    ///
    /// # Errors
    /// If tcpdump has ended by itself.
    pub fn stop(mut self) -> Result<Vec<String>> {
        // Frames that the kernel has captured and tcpdump has not read are lost at its end.
        std::thread::sleep(Duration::from_millis(50));
        self.tcpdump.signal("INT")?;
        self.tcpdump.wait(Duration::from_secs(30))?;
        Ok(self.lines())
    }
}
