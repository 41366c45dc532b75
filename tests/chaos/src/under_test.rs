//! The daemon under test: it is started, killed and asked, and its output so far is kept.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::{Daemon, Machine};
use serde_json::Value;

use crate::site::lock;

/// The path of the copy.
const NEXT: &str = "/run/lab/macvlan-shim-next";

/// How long a daemon may take to answer, and a second one to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum number of lines that are kept of former daemons.
const KEPT: usize = 2000;

/// The daemon under test on its host.
#[derive(Debug)]
pub(crate) struct UnderTest {
    host: Machine,
    /// The binary as it was given, and a copy that stands for the next version. The one to be started comes
    /// first. Both report the same version: a release build has it in its code, where the file cannot be
    /// patched.
    binaries: Mutex<[String; 2]>,
    version: String,
    /// The paths of the servers.
    environment: [String; 2],
    daemon: Mutex<Option<Running>>,
    /// The output of former daemons.
    past: Mutex<Vec<String>>,
    /// Goes up with each start.
    generation: AtomicU64,
}

/// A daemon that was started.
#[derive(Debug)]
struct Running {
    daemon: Daemon,
    since: Instant,
}

impl UnderTest {
    pub(crate) fn new(host: &Machine, binary: &str, environment: [String; 2]) -> Result<UnderTest> {
        let version = host.run(&[binary, "--version"])?;
        let version = version.split_whitespace().last().context("no version")?.to_owned();
        host.run(&["cp", binary, NEXT])?;
        Ok(UnderTest {
            host: host.clone(),
            binaries: Mutex::new([binary.to_owned(), NEXT.to_owned()]),
            version,
            environment,
            daemon: Mutex::default(),
            past: Mutex::default(),
            generation: AtomicU64::new(0),
        })
    }

    /// From now on the other binary is the one to be started.
    pub(crate) fn upgrade(&self) {
        lock(&self.binaries).rotate_left(1);
    }

    /// The version that all of them report.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    fn spawn(&self) -> Result<Daemon> {
        let [lxd, incus] = &self.environment;
        self.host.spawn(&["env", lxd, incus, &self.binary(), "run"])
    }

    fn binary(&self) -> String {
        lock(&self.binaries)[0].clone()
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&self) -> Result<()> {
        let mut running = lock(&self.daemon);
        if running.is_none() {
            let since = Instant::now();
            *running = Some(Running { daemon: self.spawn()?, since });
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Ends it, by SIGKILL or by SIGTERM.
    pub(crate) fn end(&self, kill: bool) -> Result<()> {
        let mut running = lock(&self.daemon);
        let mut ended = running.take().context("it does not run")?.daemon;
        let status = if kill { ended.kill() } else { ended.stop() };
        let mut past = lock(&self.past);
        past.extend(ended.output());
        let surplus = past.len().saturating_sub(KEPT);
        past.drain(..surplus);
        match status? {
            status if kill || status.success() => Ok(()),
            status => bail!("after SIGTERM it ended with {status}"),
        }
    }

    /// Writes its configuration file.
    pub(crate) fn configure(&self, text: &str) -> Result<()> {
        self.host.run_with_stdin(&["sh", "-c", "cat >/etc/macvlan-shim/config.toml"], text)?;
        Ok(())
    }

    /// Makes it read its configuration file again.
    pub(crate) fn reload(&self) -> Result<()> {
        self.signal("HUP")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        lock(&self.daemon).as_mut().context("it does not run")?.daemon.signal(signal)
    }

    /// How long ago it was started; no time if it does not run.
    pub(crate) fn age(&self) -> Duration {
        lock(&self.daemon).as_ref().map(|running| running.since.elapsed()).unwrap_or_default()
    }

    /// Starts a second daemon beside it, which must name the first one, and end. Any other behaviour is
    /// returned.
    pub(crate) fn meet_a_rival(&self) -> Result<Option<String>> {
        let running = || lock(&self.daemon).as_ref().and_then(|running| running.daemon.pid());
        // Before the first has the lock, the second one may be the first.
        let first = lab::eventually(PATIENCE, || {
            self.status()?;
            running().context("it does not run")
        })?;
        let mut second = self.spawn()?;
        let ended = second.wait(PATIENCE);
        let said = second.output().join("\n");
        if running() != Some(first) {
            bail!("the first one has ended");
        }
        let code = ended.ok().and_then(|status| status.code());
        let tells = said.contains("already running in this network namespace")
            && said.contains(&format!("pid {first}"));
        let good = code == Some(1) && tells;
        Ok((!good).then(|| format!("a second daemon beside {first} exits with {code:?} and says: {said}")))
    }

    /// How often it was started.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether it was started and has ended by itself.
    pub(crate) fn has_died(&self) -> bool {
        lock(&self.daemon).as_mut().is_some_and(|running| !running.daemon.is_running())
    }

    /// The output of `status --json`.
    pub(crate) fn status(&self) -> Result<Value> {
        let text = self.host.verdict(&[&self.binary(), "status", "--json"])?;
        serde_json::from_str(&text).context("status --json")
    }

    /// The output of `status` for people.
    pub(crate) fn status_table(&self) -> Result<String> {
        self.host.verdict(&[&self.binary(), "status"])
    }

    /// The output of it and its predecessors.
    pub(crate) fn log(&self) -> Vec<String> {
        let mut log = lock(&self.past).clone();
        log.extend(lock(&self.daemon).iter().flat_map(|running| running.daemon.output()));
        log
    }
}
