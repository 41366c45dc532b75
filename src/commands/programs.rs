//! Other programs, side by side, each with a time limit.

use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::model::text;

/// How long a program may take. Each needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a program that has closed its output is looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// Maximum length of an output, in bytes. A longer one counts as not read.
const LONGEST: u64 = 32 << 20;

/// The beginning of the reason if a program is not installed.
const ABSENT: &str = "there is no program ";

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Program {
    name: String,
    arguments: Vec<String>,
}

/// Its output, or why there is none, in a sentence.
pub(super) type Words = Result<String, String>;

impl Program {
    /// By its name, to be found in `PATH`.
    pub(super) fn new(name: &str, arguments: &[&str]) -> Program {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Program { name: name.to_owned(), arguments }
    }

    /// As somebody would type it.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.name, self.arguments.join(" "))
    }
}

/// Whether a program is not there, given the reason why it has no output.
pub(super) fn is_absent(output: &Words) -> bool {
    output.as_ref().is_err_and(|why| why.starts_with(ABSENT))
}

/// Runs them all at the same time, each on a thread of its own.
pub(super) fn run_all(programs: &[Program]) -> Vec<Words> {
    std::thread::scope(|scope| {
        let running: Vec<_> = programs.iter().map(|program| scope.spawn(|| run(program))).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("it could not be waited for".to_owned())));
        ended.collect()
    })
}

/// Runs one.
pub(super) fn run(program: &Program) -> Words {
    let mut command = Command::new(&program.name);
    // Administrators' programs are not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(&program.arguments).env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{ABSENT}{}", program.name),
        _ => format!("{} cannot be run: {error}", program.name),
    })?;
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let end = Instant::now() + PATIENCE;
    let left = || end.saturating_duration_since(Instant::now());
    let out = out.recv_timeout(left());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if left().is_zero() => {
                // If it has ended meanwhile there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{}` did not end within {} s", program.shown(), PATIENCE.as_secs()));
            }
            Ok(None) => std::thread::sleep(PAUSE),
            Err(error) => return Err(format!("{} cannot be waited for: {error}", program.name)),
        }
    };
    let out = out.map_err(|_| format!("`{}` has left its output open", program.shown()))?;
    if out.len() as u64 >= LONGEST {
        return Err(format!("the output of `{}` is too long", program.shown()));
    }
    if status.success() {
        return Ok(String::from_utf8_lossy(&out).into_owned());
    }
    let err = err.recv_timeout(left()).unwrap_or_default();
    let err = String::from_utf8_lossy(&err);
    let first = err.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    Err(format!("`{}` failed: {}", program.shown(), text::words(first)))
}

/// Reads a pipe to its end, on a thread of its own: a full pipe would hold the program up.
fn read(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (whole, taken) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // A pipe that breaks has nothing more to say.
            let _ = pipe.take(LONGEST).read_to_end(&mut bytes);
        }
        let _ = whole.send(bytes);
    });
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_side_by_side_and_each_failure_has_its_reason() {
        let start = Instant::now();
        let programs = [
            Program::new("sh", &["-c", "sleep 0.5; echo good"]),
            Program::new("sh", &["-c", "sleep 0.5; echo bad >&2; exit 3"]),
            Program::new("no-such-program", &[]),
            Program::new("sh", &["-c", "head -c 300000 /dev/zero | tr '\\0' x"]),
        ];
        let outputs = run_all(&programs);
        assert_eq!(outputs[0].as_deref(), Ok("good\n"));
        assert_eq!(outputs[1].as_deref().unwrap_err(), "`sh -c sleep 0.5; echo bad >&2; exit 3` failed: bad");
        assert!(is_absent(&outputs[2]) && !is_absent(&outputs[1]));
        assert_eq!(outputs[3].as_ref().unwrap().len(), 300_000);
        assert!(start.elapsed() < PATIENCE, "one after the other");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let start = Instant::now();
        let outputs = run_all(&[Program::new("sleep", &["60"])]);
        assert_eq!(outputs[0].as_deref().unwrap_err(), "`sleep 60` did not end within 3 s");
        assert!(start.elapsed() < PATIENCE * 2);
    }
}
