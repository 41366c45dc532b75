//! One machine: its beginning, its end, and the commands that run in it.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::enter::{self, PATH, within};
use crate::{Daemon, eventually};

/// How long `ip monitor` may take until it hears events.
const LISTENS: Duration = Duration::from_secs(30);
const SCRIPT: &str = include_str!("machine.sh");

/// One machine of a [`Lab`](crate::Lab). Clones mean the same machine.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    name: String,
    /// The process id of the machine's init, as seen from outside; 0 while there is none.
    pid: AtomicU32,
    /// Its stdin keeps the machine alive. A [`Debian`](crate::Debian) has none, because its chassis has one.
    guardian: Mutex<Option<Child>>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({}, pid {})", self.0.name, self.pid())
    }
}

impl Machine {
    pub(crate) fn start(name: &str, machine_id: &str) -> Result<Self> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(!name.is_empty() && name.chars().all(good), "a host name is letters, digits and hyphens");
        let mut guardian = Command::new("setsid")
            .args(["bash", "-c", "eval \"$LAB_SCRIPT\"", "lab", "guardian", name, machine_id])
            .env_clear()
            .env("PATH", PATH)
            .env("LAB_SCRIPT", SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("setsid bash")?;
        let mut line = String::new();
        if let Some(stdout) = guardian.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Some(pid) = line.strip_prefix("ready ").and_then(|pid| pid.trim().parse().ok()) else {
            drop(guardian.stdin.take());
            let mut complaint = String::new();
            if let Some(mut stderr) = guardian.stderr.take() {
                stderr.read_to_string(&mut complaint)?;
            }
            guardian.wait()?;
            bail!("its init did not come up: {}", complaint.trim());
        };
        drop(guardian.stderr.take());
        let pid = AtomicU32::new(pid);
        Ok(Self(Arc::new(Inner { name: name.to_owned(), pid, guardian: Mutex::new(Some(guardian)) })))
    }

    /// A machine that is off, until [`Machine::set_pid`].
    pub(crate) fn off(name: &str) -> Self {
        Self(Arc::new(Inner { name: name.to_owned(), pid: AtomicU32::new(0), guardian: Mutex::default() }))
    }

    pub(crate) fn set_pid(&self, pid: u32) {
        self.0.pid.store(pid, Ordering::Relaxed);
    }

    /// The machine's cgroup in each hierarchy, which ends with it.
    pub(crate) fn cgroup(&self) -> Result<String> {
        let guardian = lock(&self.0.guardian).as_ref().map(Child::id).context("the machine has ended")?;
        Ok(format!("mvlab-{guardian}-{}", self.0.name))
    }

    /// Lets a process of the machine have a tenth of a processor from now on, as on a busy node.
    ///
    /// # Errors
    /// If it has ended, or there are no cgroups for processor time.
    pub fn slow_down(&self, process: &Daemon) -> Result<()> {
        let pid = process.outside_pid().context("it ended at once")?;
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (top, file, tenth) = match unified {
            true => ("/sys/fs/cgroup", "cpu.max", "10000 100000"),
            false => ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "10000"),
        };
        let slow = Path::new(top).join(self.cgroup()?).join("slow");
        std::fs::create_dir_all(&slow)?;
        std::fs::write(slow.join(file), tenth)?;
        Ok(std::fs::write(slow.join("cgroup.procs"), pid.to_string())?)
    }

    /// The machine's host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The process id of the machine's init, as seen from outside.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid.load(Ordering::Relaxed)
    }

    /// The path of a file of the machine from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{}", self.pid(), inside.trim_start_matches('/')))
    }

    /// Pulls the plug: returns when every process, mount and cgroup of the machine is gone.
    pub fn end(&self) {
        self.hang_up();
        self.wait_for_end();
    }

    pub(crate) fn hang_up(&self) {
        if let Some(guardian) = lock(&self.0.guardian).as_mut() {
            drop(guardian.stdin.take());
        }
    }

    pub(crate) fn wait_for_end(&self) {
        if let Some(mut guardian) = lock(&self.0.guardian).take() {
            // An error would help nobody: the guardian is our child and is reaped only here.
            let _ = guardian.wait();
        }
    }

    /// A command that will run in the machine, in `/`, with a clean environment and no stdin. Add arguments,
    /// variables and pipes as usual. If the [`Child`] is killed, so is the program. For other signals, and to
    /// read its output while it runs, use [`Machine::daemon`].
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = enter::command("nsenter");
        command
            .arg(format!("--target={}", self.pid()))
            .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--"])
            .args(["setpriv", "--pdeathsig", "KILL", "--", program]);
        command
    }

    /// Does something in the network namespace of the machine, on a thread of its own.
    ///
    /// # Errors
    /// If the machine has ended, and the errors of `work`.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        within(Path::new(&format!("/proc/{}/ns/net", self.pid())), work)
    }

    /// Copies a program within the machine, with every occurrence of a text, such as its version, replaced by
    /// another of the same length. Returns the path of the copy.
    ///
    /// # Errors
    /// If there is no such program, or the text is not in it.
    pub fn patched(&self, program: &str, old: &str, new: &str) -> Result<String> {
        ensure!(old.len() == new.len(), "`{old}` and `{new}` differ in length");
        let mut bytes = std::fs::read(self.path(program)).with_context(|| program.to_owned())?;
        let found: Vec<usize> = bytes
            .windows(old.len())
            .enumerate()
            .filter(|(_, at)| *at == old.as_bytes())
            .map(|(at, _)| at)
            .collect();
        ensure!(!found.is_empty(), "`{old}` is not in {program}");
        for at in found {
            bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        }
        let name = program.rsplit('/').next().unwrap_or(program);
        let copy = format!("/run/lab/{name}-{new}");
        self.write_program(&copy, &bytes)?;
        Ok(copy)
    }

    /// Writes an executable file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_program(&self, path: &str, content: &[u8]) -> Result<()> {
        // A child that another thread forks meanwhile has everything open that we have, until it runs its program,
        // and a file that is open for writing cannot be executed. So another process writes the file.
        let draft = format!("{path}.draft");
        std::fs::write(self.path(&draft), content)?;
        self.run(&["install", "--mode=755", &draft, path])?;
        self.run(&["rm", &draft]).map(drop)
    }

    /// Starts a long-running command in the machine; see [`Daemon`].
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, argv: &[&str]) -> Result<Daemon> {
        let (program, arguments) = argv.split_first().context("empty command")?;
        let mut command = self.command(program);
        command.args(arguments);
        self.daemon(command)
    }

    /// Starts `ip monitor`, or a command that ends up as it, and waits until it hears events. On a busy
    /// machine that takes a while, and what happens before is not in its output.
    ///
    /// # Errors
    /// If it cannot be started, or does not listen in time.
    pub fn monitor(&self, argv: &[&str]) -> Result<Daemon> {
        let monitor = self.spawn(argv)?;
        eventually(LISTENS, || {
            let pid = monitor.pid().context("it has ended")?;
            let sockets = self.sh(&format!("cat /proc/{pid}/net/netlink"))?;
            let is_its = |socket: &str| {
                let columns: Vec<&str> = socket.split_whitespace().collect();
                matches!(columns[..], [_, "0", port, groups, ..]
                    if port == pid.to_string() && groups.bytes().any(|digit| digit != b'0'))
            };
            ensure!(sockets.lines().any(is_its), "it is in no group:\n{sockets}");
            Ok(())
        })
        .with_context(|| argv.join(" "))?;
        Ok(monitor)
    }

    /// Starts a command made by [`Machine::command`] as a [`Daemon`].
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn daemon(&self, command: Command) -> Result<Daemon> {
        Daemon::start(self, command)
    }

    /// Runs a command to its end and returns its stdout.
    ///
    /// # Errors
    /// If it fails or takes longer than two minutes. The error has the machine, the command, its status,
    /// stdout and stderr.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        self.run_with_stdin(argv, "")
    }

    /// [`Machine::run`] of a command whose exit status is a verdict: with 1 it says that something is wrong,
    /// and prints what.
    ///
    /// # Errors
    /// As for [`Machine::run`], and if it exits with 1 and prints nothing.
    pub fn verdict(&self, argv: &[&str]) -> Result<String> {
        let script = r#"said=$("$@") || { status=$?; [ "$status" = 1 ] && [ "$said" ] || exit "$status"; }
            printf '%s\n' "$said""#;
        self.finish("bash", &[&["-c", script, "bash"], argv].concat(), &argv.join(" "), "")
    }

    /// [`Machine::run`] with a text for the command's stdin.
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn run_with_stdin(&self, argv: &[&str], stdin: &str) -> Result<String> {
        let (program, arguments) = argv.split_first().context("empty command")?;
        self.finish(program, arguments, &argv.join(" "), stdin)
    }

    /// Runs a bash script, which ends at its first failing command, and returns its stdout.
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn sh(&self, script: &str) -> Result<String> {
        self.finish("bash", &["-euo", "pipefail", "-c", script], script, "")
    }

    fn finish(&self, program: &str, arguments: &[&str], shown: &str, stdin: &str) -> Result<String> {
        let start = || enter::start(self.pid(), program, arguments, !stdin.is_empty());
        enter::finish(start, &self.0.name, shown, stdin)
    }

    /// Whether a bash script succeeds.
    #[must_use]
    pub fn ok(&self, script: &str) -> bool {
        self.sh(script).is_ok()
    }

    /// Whether one ping is answered within a second.
    #[must_use]
    pub fn pings(&self, address: impl Into<IpAddr>) -> bool {
        self.ping(address.into(), "1").is_ok()
    }

    /// Pings until an answer comes, at most for `within`.
    #[must_use]
    pub fn reaches(&self, address: impl Into<IpAddr>, within: Duration) -> bool {
        let address = address.into();
        eventually(within, || self.ping(address, "0.3")).is_ok()
    }

    fn ping(&self, address: IpAddr, seconds: &str) -> Result<String> {
        self.run(&["ping", "-n", "-q", "-c", "1", "-W", seconds, &address.to_string()])
    }
}

/// A panic of another thread with the lock leaves nothing half done here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
