//! A container of a server.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::enter::within;
use crate::machine::lock;
use crate::{Server, eventually};

/// How long a guest's init may take. It takes a tenth of a second.
const BOOT: Duration = Duration::from_secs(20);

/// A guest: a container of a server, running or not.
#[derive(Clone, Debug)]
pub struct Guest {
    server: Server,
    project: String,
    name: String,
    /// The process id of its init when it was last asked for, and when that process began.
    init: Arc<Mutex<Option<(u64, String)>>>,
}

impl Guest {
    pub(crate) fn new(server: &Server, project: &str, name: &str) -> Self {
        let (project, name) = (project.to_owned(), name.to_owned());
        Self { server: server.clone(), project, name, init: Arc::default() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its project.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Runs the server's client with `verb`, this guest and `arguments`: `cli(&["config", "set"], &["a=b"])`.
    ///
    /// # Errors
    /// With the client's complaint.
    pub fn cli(&self, verb: &[&str], arguments: &[&str]) -> Result<String> {
        let at = ["--project", &self.project];
        self.server.cli(&[verb, &at, &[self.name.as_str()], arguments].concat())
    }

    /// Runs a shell script as root of the guest and returns its stdout. It enters the guest's namespaces by
    /// itself, because the server's client and its helpers would cost ten times as much of a processor.
    ///
    /// # Errors
    /// If it fails; with its output.
    pub fn sh(&self, script: &str) -> Result<String> {
        let target = format!("--target={}", self.init()?);
        let all = ["--user", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"];
        let enter = [&["nsenter", &target], &all[..], &["--setuid=0", "--setgid=0", "--"]].concat();
        self.server.machine().run(&[&enter[..], &["/bin/sh", "-euc", script]].concat())
    }

    /// Powers it off from within. The shell that says so may be killed before it ends.
    pub fn power_off(&self) {
        let _ = self.sh("poweroff");
    }

    /// Whether a shell script in the guest succeeds.
    #[must_use]
    pub fn ok(&self, script: &str) -> bool {
        self.sh(script).is_ok()
    }

    /// Whether one ping from the guest is answered within a second.
    #[must_use]
    pub fn pings(&self, address: impl Into<IpAddr>) -> bool {
        self.ok(&format!("ping -c 1 -W 1 {}", address.into()))
    }

    /// Pings from the guest until an answer comes, at most for `within`.
    #[must_use]
    pub fn reaches(&self, address: impl Into<IpAddr>, within: Duration) -> bool {
        let script = format!("ping -c 1 -W 1 {}", address.into());
        eventually(within, || self.sh(&script)).is_ok()
    }

    /// The answer of the server's API about it: `/1.0/instances/<name>`.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn config(&self) -> Result<Value> {
        self.server.get(&self.path(""))
    }

    /// The answer of the server's API about its state: `/1.0/instances/<name>/state`.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn state(&self) -> Result<Value> {
        self.server.get(&self.path("/state"))
    }

    /// The process id of its init, as its machine sees it.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> Result<u64> {
        self.state()?["pid"]
            .as_u64()
            .filter(|pid| *pid > 0)
            .with_context(|| format!("{} does not run", self.name))
    }

    /// [`Guest::pid`], asked for only once in the life of that process.
    pub(crate) fn init(&self) -> Result<u64> {
        let began = |pid: u64| {
            let stat =
                std::fs::read_to_string(self.server.machine().path(&format!("/proc/{pid}/stat"))).ok()?;
            let mut fields = stat.rsplit(')').next()?.split_whitespace();
            let is_dead = fields.next().is_none_or(|state| ["Z", "X"].contains(&state));
            fields.nth(18).filter(|_| !is_dead).map(str::to_owned)
        };
        let mut init = lock(&self.init);
        if let Some((pid, _)) = init.as_ref().filter(|(pid, time)| began(*pid).as_ref() == Some(time)) {
            return Ok(*pid);
        }
        let pid = self.pid()?;
        *init = began(pid).map(|time| (pid, time));
        Ok(pid)
    }

    /// Does something in the guest's network namespace, on a thread of its own.
    ///
    /// # Errors
    /// If it does not run, and the errors of `work`.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let netns = format!("/proc/{}/ns/net", self.init()?);
        within(&self.server.machine().path(&netns), work)
    }

    /// Waits until its init has set up its NICs, as `launch`, `start` and `restart` do. From then on it
    /// leaves addresses alone that a test sets.
    ///
    /// # Errors
    /// If it does not run, or is not done within 20 s.
    pub fn wait_for_boot(&self) -> Result<()> {
        eventually(BOOT, || {
            let booted = self.server.machine().path(&format!("/proc/{}/root/run/booted", self.init()?));
            ensure!(booted.exists(), "{}: its init is not done", self.name);
            Ok(())
        })
    }

    /// Starts it.
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn start(&self) -> Result<()> {
        self.change("start", false)?;
        self.wait_for_boot()
    }

    /// Shuts it down cleanly: its init does it.
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn stop(&self) -> Result<()> {
        self.change("stop", false)
    }

    /// Stops it by force.
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn stop_hard(&self) -> Result<()> {
        self.change("stop", true)
    }

    /// Shuts it down cleanly and starts it again.
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn restart(&self) -> Result<()> {
        self.change("restart", false)?;
        self.wait_for_boot()
    }

    /// Freezes it.
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn pause(&self) -> Result<()> {
        self.change("freeze", false)
    }

    /// Ends [`Guest::pause`].
    ///
    /// # Errors
    /// With the server's complaint.
    pub fn resume(&self) -> Result<()> {
        self.change("unfreeze", false)
    }

    /// Stops it by force if it runs, and deletes it.
    ///
    /// # Errors
    /// With the client's complaint.
    pub fn delete(self) -> Result<()> {
        self.cli(&["delete", "-f"], &[])?;
        Ok(())
    }

    fn change(&self, action: &str, force: bool) -> Result<()> {
        let body = json!({"action": action, "timeout": 30, "force": force});
        // For up to a second after a guest has ended by itself, which already shows as Stopped, LXD is busy
        // with it and Incus finds it running. That is worth another try, unlike other errors.
        let passing = |error: &str| error.contains("is busy running") || error.contains("is already running");
        eventually(BOOT, || match self.server.query("PUT", &self.path("/state"), &body) {
            Err(error) if passing(&format!("{error:#}")) => Err(error),
            result => Ok(result),
        })?
        .map(drop)
    }

    fn path(&self, below: &str) -> String {
        format!("/1.0/instances/{}{below}?project={}", self.name, self.project)
    }
}
