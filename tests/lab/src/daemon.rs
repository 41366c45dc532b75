//! Long-running programs in a machine: their signals, their end and their output.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine::lock;
use crate::{Machine, eventually};

/// How long a daemon may take to begin, and to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs in a machine until it ends, until it is told to end, or until this value is dropped,
/// which kills it.
#[derive(Debug)]
pub struct Daemon {
    shown: String,
    /// `nsenter`, which ends as the program does.
    child: Child,
    process: Option<Process>,
    lines: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    outside: u32,
    inside: u32,
}

#[derive(Debug, Default)]
struct Lines {
    all: Mutex<Vec<Line>>,
    more: Condvar,
}

#[derive(Debug)]
struct Line {
    from: Stream,
    at: Instant,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Out,
    Err,
}

impl Daemon {
    pub(crate) fn start(machine: &Machine, mut command: Command) -> Result<Self> {
        let arguments = command.get_args().map(|a| a.to_string_lossy()).collect::<Vec<_>>();
        let program = arguments.iter().rposition(|a| a == "--").map_or(0, |i| i + 1);
        let shown = format!("{}: `{}`", machine.name(), arguments[program..].join(" "));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| shown.clone())?;
        let lines = Arc::new(Lines::default());
        let readers = [
            child.stdout.take().map(|pipe| read(pipe, Stream::Out, &lines)),
            child.stderr.take().map(|pipe| read(pipe, Stream::Err, &lines)),
        ];
        let process = find_process(&mut child)?;
        Ok(Self { shown, child, process, lines, readers: readers.into_iter().flatten().collect() })
    }

    /// Its process id as the machine sees it; none if it ended at once.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.map(|p| p.inside)
    }

    /// Its process id as the outside sees it; none if it ended at once.
    #[must_use]
    pub fn outside_pid(&self) -> Option<u32> {
        self.process.map(|p| p.outside)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal, such as `"HUP"`.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        ensure!(self.is_running(), "{} has ended\n{}", self.shown, self.output().join("\n"));
        let process = self.process.with_context(|| format!("{} has no process", self.shown))?;
        let mut pids = vec![process.outside.to_string()];
        if signal == "CONT" {
            pids.push(self.child.id().to_string()); // nsenter stops itself when its child stops
        }
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg("--")
            .args(pids)
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "kill -{signal}: {status}");
        Ok(())
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it does not within `within`.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = eventually(within, || {
            let status = self.child.try_wait()?;
            status.with_context(|| format!("{} runs\n{}", self.shown, self.lines.tail()))
        })?;
        for reader in self.readers.drain(..) {
            // A program whose children have inherited its pipes never gives EOF. The lines so far are there.
            if reader.is_finished() || eventually(Duration::from_millis(200), || finished(&reader)).is_ok() {
                let _ = reader.join();
            }
        }
        Ok(status)
    }

    /// Sends SIGTERM, and waits until it ends.
    ///
    /// # Errors
    /// If it has ended before, or does not end within 30 s.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(PATIENCE)
    }

    /// Sends SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// If it has ended before.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal("KILL")?;
        self.signal("CONT").ok();
        self.wait(PATIENCE)
    }

    /// All lines so far, of stdout and stderr.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        lock(&self.lines.all).iter().map(|line| line.text.clone()).collect()
    }

    /// All lines so far, each with its age in seconds, for the error of a failed test.
    #[must_use]
    pub fn story(&self) -> String {
        tell(&lock(&self.lines.all))
    }

    /// The lines so far of stdout alone.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        let all = lock(&self.lines.all);
        all.iter().filter(|line| line.from == Stream::Out).map(|line| line.text.clone()).collect()
    }

    /// The number of lines so far, for [`Daemon::wait_line_after`].
    #[must_use]
    pub fn mark(&self) -> usize {
        lock(&self.lines.all).len()
    }

    /// Waits for a line that contains `pattern`, which may have come already, and returns it.
    ///
    /// # Errors
    /// With the output so far, if none comes within `within`.
    pub fn wait_line(&self, pattern: &str, within: Duration) -> Result<String> {
        self.wait_line_after(0, pattern, within)
    }

    /// [`Daemon::wait_line`] that looks only at lines after the first `mark`.
    ///
    /// # Errors
    /// As for [`Daemon::wait_line`].
    pub fn wait_line_after(&self, mark: usize, pattern: &str, within: Duration) -> Result<String> {
        let end = Instant::now() + within;
        let mut all = lock(&self.lines.all);
        loop {
            if let Some(line) = all.iter().skip(mark).find(|line| line.text.contains(pattern)) {
                return Ok(line.text.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(all);
                bail!("{}: no line with `{pattern}` within {within:?}\n{}", self.shown, self.lines.tail());
            }
            all = self.lines.more.wait_timeout(all, left).map_or_else(|e| e.into_inner().0, |(all, _)| all);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // nsenter is not killed, so that it reaps the program. A machine cannot end before everything in it
        // is reaped.
        if self.is_running() && self.kill().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Lines {
    fn tail(&self) -> String {
        let all = lock(&self.all);
        tell(&all[all.len().saturating_sub(40)..])
    }
}

fn tell(lines: &[Line]) -> String {
    let tell = |line: &Line| format!("  {:8.3} s ago | {}", line.at.elapsed().as_secs_f64(), line.text);
    lines.iter().map(tell).collect::<Vec<_>>().join("\n")
}

fn finished(reader: &JoinHandle<()>) -> Result<()> {
    ensure!(reader.is_finished(), "its output is still open");
    Ok(())
}

fn read(pipe: impl Read + Send + 'static, stream: Stream, lines: &Arc<Lines>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            lock(&lines.all).push(Line { from: stream, at: Instant::now(), text });
            lines.more.notify_all();
            line.clear();
        }
    })
}

/// The program is the one child of `nsenter`.
fn find_process(child: &mut Child) -> Result<Option<Process>> {
    let id = child.id();
    eventually(PATIENCE, || {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let outside = children.trim().parse().context("nsenter has not started the program")?;
        let status = std::fs::read_to_string(format!("/proc/{outside}/status"))?;
        let inside = status.lines().find_map(|l| l.strip_prefix("NSpid:")?.split_whitespace().last());
        Ok(Some(Process { outside, inside: inside.context("no NSpid")?.parse()? }))
    })
}
