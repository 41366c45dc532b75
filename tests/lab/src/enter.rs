//! Gets commands into a machine. A thread enters its namespaces and starts them from there. `nsenter`, `env`
//! and `timeout` would each cost as much of a processor as most of the commands, and the tests run tens of
//! thousands.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a command may take. One that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// The namespaces of a machine. That of its mounts comes last, because it hides the files of the others.
const ALL: [(&str, CloneFlags); 6] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Does something in a network namespace, on a thread of its own.
pub(crate) fn within<T: Send>(netns: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = File::open(netns).with_context(|| netns.display().to_string())?;
    on_a_thread(|| {
        setns(&file, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// Starts a program in all namespaces of the process with this id, with pipes for its stdout and stderr.
pub(crate) fn start(pid: u32, program: &str, arguments: &[&str], with_stdin: bool) -> Result<Child> {
    let namespaces = ALL.map(|(name, kind)| Ok((File::open(format!("/proc/{pid}/ns/{name}"))?, kind)));
    on_a_thread(|| {
        // Otherwise the whole process would change its root folder.
        unshare(CloneFlags::CLONE_FS)?;
        for namespace in namespaces {
            let (file, kind) = namespace.map_err(|error: std::io::Error| anyhow!("it has ended: {error}"))?;
            setns(&file, kind)?;
        }
        let mut command = command(program);
        if with_stdin {
            command.stdin(Stdio::piped());
        }
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| program.to_owned())
    })
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow!("the thread panicked"))?)
}

/// A command with a clean environment and no stdin. The program is looked up here, because Rust starts a
/// program that is given by its path without copying the test's memory.
pub(crate) fn command(program: &str) -> Command {
    let found = PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    let program = found.unwrap_or_else(|| program.into());
    let mut command = match *IGNORES_SIGNALS {
        false => Command::new(program),
        true => {
            let mut env = Command::new("/usr/bin/env");
            env.arg("--default-signal=HUP,INT,QUIT,TERM").arg(program);
            env
        }
    };
    command
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/run/lab/home")
        .env("LANG", "C.UTF-8")
        .envs(std::env::vars_os().filter(|(k, _)| passes(&k.to_string_lossy())));
    command
}

/// Whether the test was told to ignore signals, as a shell tells its background jobs. They must not be
/// ignored in a machine, because they say how a program ended.
static IGNORES_SIGNALS: LazyLock<bool> = LazyLock::new(|| {
    const HUP_INT_QUIT_TERM: u64 = 0x4007;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & HUP_INT_QUIT_TERM != 0)
});

/// The variables that a test process may pass to programs in the machines: how to trace, and where to put
/// coverage.
fn passes(variable: &str) -> bool {
    variable.starts_with("RUST_") || variable == "LLVM_PROFILE_FILE"
}

/// Runs a command, which shows as `shown` in errors, to its end and returns its stdout.
pub(crate) fn finish(
    start: impl FnOnce() -> Result<Child>,
    machine: &str,
    shown: &str,
    stdin: &str,
) -> Result<String> {
    let mut child = start().with_context(|| format!("{machine}: `{shown}`"))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(stdin.as_bytes()).with_context(|| format!("{machine}: stdin of `{shown}`"))?;
    }
    let pid = Pid::from_raw(child.id().cast_signed());
    let (ends, ended) = mpsc::channel::<()>();
    let (output, hung) = std::thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let hangs = ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
            hangs && kill(pid, Signal::SIGKILL).is_ok()
        });
        let output = child.wait_with_output();
        drop(ends);
        (output, watchdog.join().unwrap_or_default())
    });
    let output = output?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(stdout.into_owned());
    }
    let (status, stderr) = (meaning(output.status, hung), String::from_utf8_lossy(&output.stderr));
    bail!("{machine}: `{shown}` {status}\nstdout: {}\nstderr: {}", stdout.trim_end(), stderr.trim_end())
}

fn meaning(status: ExitStatus, hung: bool) -> String {
    match status.code() {
        _ if hung => format!("was ended after {} s", LIMIT.as_secs()),
        Some(code) => format!("exited with {code}"),
        None => status.to_string(),
    }
}
