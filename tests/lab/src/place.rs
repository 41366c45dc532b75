//! How many stories run at a time on this computer, over all programs. Network namespaces share the kernel's
//! neighbour tables and the processors. A story that fills the tables or needs the processors cannot run
//! beside many others.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::until;

/// Has a file for each place, and one for the process that is taking places just now.
const FOLDER: &str = "/run/lock/macvlan-shim-lab";

/// Most stories spend most of their time waiting.
const PLACES_PER_PROCESSOR: usize = 3;

/// How often a free place is looked for.
const PAUSE: Duration = Duration::from_millis(20);

/// A longer wait than this is reported.
const LONG: Duration = Duration::from_secs(120);

/// How long the neighbour tables may take to become empty after the last story. The kernel takes namespaces
/// down by and by, with their neighbours.
const EMPTIED: Duration = Duration::from_secs(30);

/// Number of neighbours below which a table counts as empty. The least limit of a kernel is 1,024.
const FEW: u64 = 256;

/// The share of the computer's places that a story takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One: the story mostly waits.
    One,
    /// Half of them: the story keeps the processors busy, or measures how long something takes.
    Half,
    /// All of them: nothing else of a lab may run meanwhile, or has left neighbours behind.
    All,
}

/// Places that are taken until this value is dropped, or its process has ended.
#[derive(Debug)]
pub struct Place {
    _taken: Vec<Flock<File>>,
}

impl Place {
    /// Waits until places are free, and takes them. The first to come is served first, so a story that needs
    /// many is not overtaken by stories that need one. A caller that has a place must not wait for another
    /// one.
    ///
    /// # Errors
    /// If locks are impossible.
    pub fn take(share: Share) -> Result<Self> {
        std::fs::create_dir_all(FOLDER).context(FOLDER)?;
        let start = Instant::now();
        let _turn = turn()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let most = processors * PLACES_PER_PROCESSOR;
        let wanted = match share {
            Share::One => 1,
            Share::Half => most.div_ceil(2),
            Share::All => most,
        };
        let (mut taken, mut told) = (Vec::new(), false);
        let mut left: Vec<usize> = (0..most).collect();
        loop {
            for number in std::mem::take(&mut left) {
                let free = if taken.len() < wanted { try_lock(&number.to_string())? } else { None };
                match free {
                    Some(lock) => taken.push(lock),
                    None => left.push(number),
                }
            }
            if taken.len() == wanted {
                if share == Share::All {
                    // The computer itself may have many neighbours. Then the story shows whether it minds.
                    let _ = until(EMPTIED, "the neighbour tables are empty", are_tables_empty);
                }
                return Ok(Self { _taken: taken });
            }
            if start.elapsed() > LONG && !std::mem::replace(&mut told, true) {
                eprintln!(
                    "the lab waits for {share:?} of {most} places: `fuser {FOLDER}/*` shows their owners"
                );
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether the tables that all namespaces share have few neighbours. The first column of each line is their
/// number. A kernel that does not tell has few.
fn are_tables_empty() -> bool {
    ["arp_cache", "ndisc_cache"].iter().all(|table| {
        let text = std::fs::read_to_string(format!("/proc/net/stat/{table}")).unwrap_or_default();
        let number = text.lines().nth(1).and_then(|line| line.split(' ').next());
        number.and_then(|number| u64::from_str_radix(number, 16).ok()).is_none_or(|number| number < FEW)
    })
}

/// Waits for its turn to take places.
fn turn() -> Result<Flock<File>> {
    let mut file = open("turn")?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, errno)) => return Err(errno).context("waiting for a turn"),
        }
    }
}

fn try_lock(name: &str) -> Result<Option<Flock<File>>> {
    match Flock::lock(open(name)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).context("taking a place"),
    }
}

fn open(name: &str) -> Result<File> {
    let path = Path::new(FOLDER).join(name);
    let file = File::options().create(true).append(true).open(&path);
    file.with_context(|| path.display().to_string())
}
