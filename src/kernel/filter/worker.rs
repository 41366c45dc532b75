//! The thread that runs `nft`, one command at a time.
//!
//! Every answer has a listing that was begun after the command, so the outcome of the command and the state
//! after it are reported together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::nft::NftError;
use super::table::{FilterListing, FilterTable, WantedFilter};
use crate::kernel::processor_time::of_thread_and_programs;
use crate::model::LinkIndex;
use crate::model::snapshot::ShimFilter;

/// A command to the thread.
#[derive(Debug)]
pub(in crate::kernel) enum NftCommand {
    /// Nothing but the listing. `doubt`: missing abilities are checked again.
    Read { doubt: bool },
    /// Make a shim's filter the wanted one. `standing`: the existing one.
    Set { wanted: WantedFilter, standing: Option<ShimFilter> },
    /// Delete the filter of a shim. With the last one the table goes too.
    Delete { link: LinkIndex, last: bool },
}

/// The outcome of a command.
#[derive(Debug)]
pub(in crate::kernel) struct NftAnswer {
    /// Whether the change was made. Nothing to change is success.
    pub(in crate::kernel) result: Result<(), NftError>,
    /// The existing filters.
    pub(in crate::kernel) listing: Result<FilterListing, NftError>,
    /// When the listing was begun. It shows all changes that were made before.
    pub(in crate::kernel) since: Instant,
    /// The processor time of all that.
    pub(in crate::kernel) spent: Duration,
}

/// The thread as seen by its owner. It is started with the first command, and ends with this value.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Worker {
    line: Option<Line>,
    /// The answers to commands that no thread could take.
    refused: VecDeque<NftAnswer>,
    bell: Arc<Bell>,
}

/// Wakes the waiter when there are answers.
#[derive(Debug, Default)]
struct Bell {
    /// Number of answers that nobody has taken yet.
    answers: AtomicUsize,
    rung: Notify,
}

impl Bell {
    fn ring(&self) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        self.rung.notify_one();
    }
}

#[derive(Debug)]
struct Line {
    commands: Sender<NftCommand>,
    answers: Receiver<NftAnswer>,
}

impl Worker {
    /// Gives a command, which is obeyed after all earlier ones.
    pub(in crate::kernel) fn send(&mut self, command: NftCommand) {
        let sent = match &self.line {
            Some(line) => line.commands.send(command).map_err(|unsent| unsent.0),
            None => Err(command),
        };
        let Err(command) = sent else { return };
        match Line::open(&self.bell) {
            Ok(line) => {
                // It was opened just now, so it takes the command.
                let _ = line.commands.send(command);
                self.line = Some(line);
            }
            Err(error) => {
                self.refused.push_back(failed(&format!("no thread for nft could be started: {error}")));
                self.bell.ring();
            }
        }
    }

    /// The answer to the oldest command that has none yet. Waits for it as long as `patience`. Do not call it
    /// unless there is such a command.
    pub(in crate::kernel) fn wait(&mut self, patience: Duration) -> Option<NftAnswer> {
        let answer = match self.refused.pop_front() {
            Some(answer) => answer,
            None => match self.line.as_ref()?.answers.recv_timeout(patience) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(failed("the thread that runs nft has ended"));
                }
            },
        };
        self.bell.answers.fetch_sub(1, Ordering::SeqCst);
        Some(answer)
    }

    /// Waits until there is an answer. Cancel safe.
    pub(in crate::kernel) fn ready(&self) -> impl Future<Output = ()> + use<> {
        let bell = Arc::clone(&self.bell);
        async move {
            while bell.answers.load(Ordering::SeqCst) == 0 {
                bell.rung.notified().await;
            }
        }
    }
}

impl Line {
    fn open(bell: &Arc<Bell>) -> std::io::Result<Line> {
        let (commands, orders) = channel();
        let (tell, answers) = channel();
        let bell = Arc::clone(bell);
        let thread = std::thread::Builder::new().name("nft".to_owned());
        thread.spawn(move || serve(&orders, &tell, &bell))?;
        Ok(Line { commands, answers })
    }
}

fn serve(orders: &Receiver<NftCommand>, tell: &Sender<NftAnswer>, bell: &Bell) {
    let mut table = FilterTable::default();
    for command in orders {
        let began = of_thread_and_programs();
        let result = obey(&mut table, &command);
        let since = Instant::now();
        let listing = table.read();
        let spent = of_thread_and_programs().saturating_sub(began);
        // Counted first, because the taker of the answer counts it down.
        bell.answers.fetch_add(1, Ordering::SeqCst);
        if tell.send(NftAnswer { result, listing, since, spent }).is_err() {
            return;
        }
        bell.rung.notify_one();
    }
}

fn obey(table: &mut FilterTable, command: &NftCommand) -> Result<(), NftError> {
    match command {
        NftCommand::Read { doubt } => {
            if *doubt {
                table.doubt();
            }
            Ok(())
        }
        NftCommand::Set { wanted, standing } => table.set(wanted, standing.as_ref()),
        NftCommand::Delete { link, last } => table.delete(*link, *last),
    }
}

fn failed(why: &str) -> NftAnswer {
    let error = || NftError::Failed(why.to_owned());
    NftAnswer { result: Err(error()), listing: Err(error()), since: Instant::now(), spent: Duration::ZERO }
}
