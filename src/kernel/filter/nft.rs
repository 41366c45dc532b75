//! The program `nft`: how it is run, and what it means where it does not do as asked.

use std::io::{ErrorKind, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::kernel::socket::error::RequestError;
use crate::model::text;

/// How long one call may take, which has some milliseconds to do: all else waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it is left alone if that was not enough: the first time, when it may have had to load modules, or the machine
/// was busy; twice as long each further time …
const PAUSE: Duration = Duration::from_secs(1);

/// … and so long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why `nft` did not do as asked, in words for people.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::kernel) enum NftError {
    /// There is no `nft`, or no nf_tables in the kernel.
    Absent(String),
    /// The kernel, or `nft`, lacks what was asked for.
    Lacks(String),
    /// Anything else: it may well go by.
    Failed(String),
}

impl From<NftError> for RequestError {
    fn from(refusal: NftError) -> RequestError {
        let (NftError::Absent(why) | NftError::Lacks(why) | NftError::Failed(why)) = refusal;
        RequestError::Broken(why)
    }
}

/// The program, as far as it answers.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Nft {
    /// It did not, and is left alone until then.
    mute_until: Option<Instant>,
    /// How often in a row.
    mute: u32,
}

impl Nft {
    /// Runs it; says what it printed. Where it did not end in time it counts as not having ended for a while.
    pub(in crate::kernel) fn run(
        &mut self,
        arguments: &[&str],
        input: Option<String>,
    ) -> Result<String, NftError> {
        let mute = || NftError::Failed(format!("nft did not end within {} s", PATIENCE.as_secs()));
        if self.mute_until.is_some_and(|until| Instant::now() < until) {
            return Err(mute());
        }
        let result = run(arguments, input);
        self.mute = if result.is_none() { self.mute.saturating_add(1) } else { 0 };
        self.mute_until = result.is_none().then(|| Instant::now() + pause(self.mute));
        result.unwrap_or_else(|| Err(mute()))
    }
}

/// The pause after so many times in a row, one at least.
fn pause(times: u32) -> Duration {
    PAUSE.saturating_mul(1 << times.saturating_sub(1).min(8)).min(LONGEST_PAUSE)
}

/// `None` if it did not end in time.
fn run(arguments: &[&str], input: Option<String>) -> Option<Result<String, NftError>> {
    let mut command = Command::new("nft");
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (hand_over, handed_over) = mpsc::channel::<Child>();
    let (done, result) = mpsc::channel();
    // First, for there may be no room for another.
    let waiting = std::thread::Builder::new().spawn(move || {
        let Ok(mut child) = handed_over.recv() else { return };
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // If it stops reading, what it prints tells why.
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
    // By its number alone another might be meant, once it has ended.
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

/// What its words mean: those of nft 1.0.6, as seen on Linux 6.1 without the modules in question. Without a capability,
/// where the kernel is busy, or where it lacks memory, the same sentences end in other words.
fn meaning(words: &str) -> NftError {
    /// Without nfnetlink; without nf_tables.
    const ABSENT: [&str; 2] = [
        "Unable to initialize Netlink socket: Protocol not supported",
        "cache initialization failed: Invalid argument",
    ];
    /// Without a hook; without the module of an expression. And an `nft` that is older than a hook.
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
    fn a_kernel_without_nf_tables_is_told_from_one_that_does_not_let_us() {
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
    fn one_that_was_slow_once_is_soon_asked_again() {
        assert_eq!([1, 2, 5, u32::MAX].map(pause).map(|pause| pause.as_secs()), [1, 2, 10, 10]);
    }

    #[test]
    fn what_is_lacking_is_told_from_what_goes_by() {
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
