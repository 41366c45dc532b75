//! The program `nft`: how it is run, and the meaning of its error messages.

use std::io::{ErrorKind, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::model::text;

/// How long one call may take. It needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long `nft` is left alone after it hung once: it may have had to load modules, or the machine was busy.
/// The pause doubles with each further time …
const PAUSE: Duration = Duration::from_secs(1);

/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The reason why `nft` did not obey, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::kernel) enum NftError {
    /// There is no `nft`, or no nf_tables in the kernel.
    #[error("{0}")]
    Absent(String),
    /// The kernel, or `nft`, lacks an ability that was needed.
    #[error("{0}")]
    Lacks(String),
    /// Anything else. It may well pass.
    #[error("{0}")]
    Failed(String),
}

/// The program, and whether it is worth a call.
#[derive(Debug, Default)]
pub(super) struct Nft {
    rest: Rest,
}

impl Nft {
    /// Runs it and returns its output. If it does not end in time, further calls fail at once for a while.
    pub(super) fn run(&mut self, arguments: &[&str], input: Option<String>) -> Result<String, NftError> {
        let hung = || NftError::Failed(format!("nft did not end within {} s", PATIENCE.as_secs()));
        if self.rest.goes_on(Instant::now()) {
            return Err(hung());
        }
        let result = run(arguments, input);
        self.rest.ran(result.is_some(), Instant::now());
        result.unwrap_or_else(|| Err(hung()))
    }
}

/// How long a program that hung is left alone.
#[derive(Debug, Default)]
struct Rest {
    /// It hung, and is left alone until then.
    until: Option<Instant>,
    /// The number of times that it hung in a row.
    hung: u32,
}

impl Rest {
    fn goes_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// It ran. `ended`: in time.
    fn ran(&mut self, ended: bool, now: Instant) {
        self.hung = if ended { 0 } else { self.hung.saturating_add(1) };
        let pause = PAUSE.saturating_mul(1 << self.hung.saturating_sub(1).min(8)).min(LONGEST_PAUSE);
        self.until = (!ended).then(|| now + pause);
    }
}

/// `None` if it did not end in time.
fn run(arguments: &[&str], input: Option<String>) -> Option<Result<String, NftError>> {
    let mut command = Command::new("nft");
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (hand_over, handed_over) = mpsc::channel::<Child>();
    let (done, result) = mpsc::channel();
    // The thread comes first, because there may be no room for another one.
    let waiting = std::thread::Builder::new().spawn(move || {
        let Ok(mut child) = handed_over.recv() else { return };
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // If it stops reading, its messages give the reason.
            let _ = stdin.write_all(input.as_bytes());
        }
        let _ = done.send(child.wait_with_output());
    });
    if let Err(error) = waiting {
        return Some(Err(NftError::Failed(format!("nft cannot be waited for: {error}"))));
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some(Err(NftError::Absent("nft is not installed".to_owned())));
        }
        Err(error) => return Some(Err(NftError::Failed(format!("nft cannot be run: {error}")))),
    };
    // Once it has ended, its number might belong to another process.
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let _ = hand_over.send(child);
    let Ok(output) = result.recv_timeout(PATIENCE) else {
        let _ = process.map(|process| pidfd_send_signal(process, Signal::KILL));
        return None;
    };
    Some(match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(meaning(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(NftError::Failed(format!("nft cannot be waited for: {error}"))),
    })
}

/// The meaning of its messages. These are those of nft 1.0.6, as seen on Linux 6.1 without the modules in
/// question. If a capability is missing, or the kernel is busy or lacks memory, the same sentences end in
/// other words.
fn meaning(words: &str) -> NftError {
    /// Without nfnetlink; without nf_tables.
    const ABSENT: [&str; 2] = [
        "Unable to initialize Netlink socket: Protocol not supported",
        "cache initialization failed: Invalid argument",
    ];
    /// Without a hook, without the module of an expression, and with an `nft` that is older than a hook.
    const LACKS: [&str; 3] = [
        "Could not process rule: Operation not supported",
        "Could not process rule: No such file or directory",
        "Invalid chain hook",
    ];
    let first = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    let first = &*text::words(first);
    let says = |sentences: &[&str]| sentences.iter().any(|sentence| first.contains(sentence));
    if says(&ABSENT) {
        return NftError::Absent(format!("the kernel has no nf_tables (nft: {first})"));
    }
    let why = format!("nft failed: {first}");
    if says(&LACKS) { NftError::Lacks(why) } else { NftError::Failed(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_nf_tables_is_told_from_one_that_refuses_us() {
        let absent = |words: &str| matches!(meaning(words), NftError::Absent(_));
        assert!(absent("mnl.c:60: Unable to initialize Netlink socket: Protocol not supported\n"));
        assert!(absent("netlink: Error: cache initialization failed: Invalid argument\n"));
        for passing in ["Operation not permitted", "Device or resource busy", "Cannot allocate memory"] {
            assert!(matches!(
                meaning(&format!("netlink: Error: cache initialization failed: {passing}\n")),
                NftError::Failed(_)
            ));
        }
        assert_eq!(meaning("\n"), NftError::Failed("nft failed: no reason given".to_owned()));
    }

    #[test]
    fn one_that_hung_once_is_soon_asked_again() {
        let (mut rest, mut now) = (Rest::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            rest.ran(false, now);
            pauses.push((1..).find(|seconds| !rest.goes_on(now + Duration::from_secs(*seconds))).unwrap());
            now += LONGEST_PAUSE;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        rest.ran(true, now);
        assert!(!rest.goes_on(now));
    }

    #[test]
    fn a_missing_ability_is_told_from_a_passing_failure() {
        let meaning = |words: &str| meaning(&format!("internal:0:0-0: Error: {words}\n\n"));
        for lack in [
            "Could not process rule: Operation not supported",
            "Could not process rule: No such file or directory",
            "Invalid chain hook 'egress'.",
        ] {
            assert!(matches!(meaning(lack), NftError::Lacks(_)), "{lack}");
        }
        for passing in ["Device or resource busy", "Operation not permitted", "Too many open files"] {
            let words = format!("Could not process rule: {passing}");
            assert!(matches!(meaning(&words), NftError::Failed(_)), "{words}");
        }
    }
}
