//! The loop: wait, read, decide, write. One task owns the view of the kernel and all decisions. The followers
//! of the servers and the control socket only send it messages.

mod chronicle;
pub mod control;
mod counters;
pub mod history;
pub mod lock;
mod log_fields;
mod notify;
mod op_log;
mod problem_log;
pub mod publisher;
pub mod publishers;
mod reload;
mod servers;
pub mod unread;
mod views;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use self::chronicle::Chronicle;
use self::counters::Counters;
use self::history::EventHistory;
use self::notify::Notifier;
use self::problem_log::ProblemLog;
use self::servers::Servers;
use crate::config::Config;
use crate::kernel::{self, Kernel, OpError};
use crate::model::plan::Scope;
use crate::model::status::Problem;
use crate::model::tally::ResyncTrigger;
use crate::model::{Changes, Inventory, Op, Plan, Step, Timestamp, text};
use crate::reconcile::schedule::{Error, Outcome, Walked};
use crate::reconcile::{
    Desired, Inputs, LanQuestions, Memory, Schedule, decide, servers_to_ask, spare_questions,
};
use crate::servers::jittered;

/// How often the host is read again, because some changes send no event. The period varies by a fifth, so
/// that the members of a cluster do not do it in step.
const RESYNC: Duration = Duration::from_secs(30);
/// Number of resyncs of the host alone between two full ones. Changes of guests and filters send events, but
/// a newly loaded feature of nftables does not. So every tenth resync reads guests and filters too, tests
/// nftables again and decides everything again.
const RESYNCS_OF_HOST: u32 = 9;
/// How long reading and writing may go on before other work gets its turn.
const TURN: Duration = Duration::from_millis(100);

/// Runs the daemon until SIGTERM or SIGINT. It leaves everything in place.
///
/// # Errors
///
/// A faulty configuration, another daemon in this network namespace, or a kernel that cannot be read.
pub async fn run(config_file: Option<PathBuf>, socket: &Path) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let metrics = control::passed_listener().context("the socket for metrics")?;
    let config = Config::load(config_file.as_deref())?.config;
    let _lock = lock::acquire()?;
    let mut notifier = Notifier::new();
    notifier.turn("reading the kernel's state".to_owned(), Instant::now());

    let kernel = Kernel::open()?;
    let listener = control::bind(socket)?;
    let (history, past) = history::channel();
    let (mut publishers, readers) = publishers::channels(past);
    if let Some(metrics) = metrics {
        tokio::spawn(control::serve_metrics(metrics, readers.reports.clone()));
    }
    tokio::spawn(control::serve(listener, readers));
    let mut servers = Servers::default();
    let mut daemon = Daemon::new(config, config_file, kernel, history);
    servers.follow(&daemon.config.sockets(), &mut daemon.inventory);
    daemon.settle(&servers);
    notifier.ready();

    let mut resync = tokio::time::Instant::now() + jittered(RESYNC);
    let mut resyncs = 0;
    loop {
        // In a storm there is always something to do, so nothing below waits.
        tokio::task::yield_now().await;
        daemon.look(&servers);
        notifier.turn(daemon.summary(), Instant::now());
        publishers.reports.answer(Instant::now(), |()| daemon.report(&servers));
        publishers.explanations.answer(Instant::now(), |sought| daemon.explain(&servers, sought));
        let wakes = [daemon.wake(), daemon.problem_log.wake(), notifier.wake(), publishers.wake()];
        let wake = wakes.into_iter().flatten().min().map(tokio::time::Instant::from_std);
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            readable = daemon.kernel.changed() => readable.context("waiting for the kernel's events")?,
            changed = servers.heard(&mut daemon.inventory) => daemon.dirty |= changed,
            () = sleep_until(wake) => {}
            () = publishers.asked() => continue,
            _ = hangup.recv() => {
                notifier.reloading();
                daemon.reload(&mut servers);
                notifier.ready();
            }
            () = tokio::time::sleep_until(resync) => {
                resync = tokio::time::Instant::now() + jittered(RESYNC);
                daemon.problem_log.changed(Instant::now());
                daemon.counters.resync(ResyncTrigger::Timer);
                if resyncs == RESYNCS_OF_HOST {
                    daemon.kernel.resync();
                    daemon.dirty = true;
                } else {
                    // Decisions follow only for objects that have changed.
                    daemon.kernel.resync_host();
                    daemon.schedule.forget_finished_ops(Instant::now());
                }
                resyncs = (resyncs + 1) % (RESYNCS_OF_HOST + 1);
            }
        }
        daemon.settle(&servers);
        publishers.changed();
    }
    notifier.stopping();
    tracing::info!("stopping; every route stays in place (macvlan-shim cleanup removes them)");
    Ok(())
}

/// The whole state of the loop.
struct Daemon {
    /// The name of the host.
    host: String,
    started: Timestamp,
    config: Config,
    config_file: Option<PathBuf>,
    config_problem: Option<Problem>,
    kernel: Kernel,
    inventory: Inventory,
    memory: Memory,
    desired: Desired,
    schedule: Schedule,
    questions: LanQuestions,
    problem_log: ProblemLog,
    chronicle: Chronicle,
    counters: Counters,
    /// Something other than the kernel asks for a new decision.
    dirty: bool,
    /// There is more to do, and it cannot wait.
    again: bool,
    /// Every present server was read once, and the plan that followed was applied.
    ready: bool,
}

/// The outcome of asking the LAN.
struct Asked {
    /// The questions that were put.
    put: Vec<Op>,
    /// Other addresses than before cannot be asked about, so verdicts change.
    changes_verdicts: bool,
}

impl Daemon {
    fn new(config: Config, config_file: Option<PathBuf>, kernel: Kernel, history: EventHistory) -> Daemon {
        let host = nix::unistd::gethostname().map(|name| text::words(&name.to_string_lossy()));
        Daemon {
            host: host.unwrap_or_default(),
            started: SystemTime::now().into(),
            config,
            config_file,
            config_problem: None,
            kernel,
            inventory: Inventory::default(),
            memory: Memory::default(),
            desired: Desired::default(),
            schedule: Schedule::default(),
            questions: LanQuestions::default(),
            problem_log: ProblemLog::default(),
            chronicle: Chronicle::new(history, Instant::now()),
            counters: Counters::new(),
            dirty: true,
            again: false,
            ready: false,
        }
    }

    /// When there is something to do although nothing happens.
    fn wake(&self) -> Option<Instant> {
        if self.dirty || self.again {
            return Some(Instant::now());
        }
        [self.schedule.wake(), self.questions.wake(), self.memory.tenure.wake()].into_iter().flatten().min()
    }

    /// Reads, decides and writes until there is nothing to do. Then it asks the LAN the questions whose time
    /// has come.
    fn settle(&mut self, servers: &Servers) {
        self.reconcile(servers);
        self.dirty |= self.ask().changes_verdicts;
        self.counters.passed();
    }

    /// Asks the LAN the questions that are due.
    fn ask(&mut self) -> Asked {
        let mut put = Vec::new();
        while let Some(op) = self.questions.next(self.kernel.snapshot(), Instant::now()) {
            let result = self.kernel.begin(&op).map(drop).map_err(Error::from);
            match &result {
                Ok(()) => {
                    tracing::debug!("{op}");
                    put.push(op.clone());
                }
                Err(error) => tracing::debug!("{}", error.message),
            }
            self.counters.asked(&op, Instant::now(), &result);
            self.questions.asked(op, Instant::now(), result);
        }
        let unasked = self.questions.unasked();
        let changes_verdicts = unasked != self.memory.trust.unasked;
        self.memory.trust.unasked = unasked;
        Asked { put, changes_verdicts }
    }

    fn reconcile(&mut self, servers: &Servers) {
        self.again = false;
        let began = Instant::now();
        while began.elapsed() < TURN {
            if self.dirty {
                self.kernel.locate(self.inventory.homes());
            }
            let looked = Instant::now();
            let mut changes = self.kernel.drain();
            self.counters.read(looked, &changes, self.kernel.snapshot());
            self.take_in_ends();
            if changes.all {
                self.schedule.host_changed();
            }
            changes.merge(self.schedule.due(Instant::now()));
            changes.merge(self.memory.tenure.due(Instant::now()));
            changes.all |= std::mem::take(&mut self.dirty);
            if !changes.is_empty() {
                self.problem_log.changed(Instant::now());
            }
            let ran = if changes.is_empty() { 0 } else { self.round(&changes, servers) };
            servers.look(&servers_to_ask(
                &changes.new_children,
                self.kernel.snapshot(),
                &self.inventory,
                &self.memory.joins,
            ));
            if ran == 0 {
                self.ready |= self.inventory.settled() && !self.schedule.is_under_way();
                return;
            }
        }
        // A storm. The control socket and the servers get their turn, then this goes on. A storm may have no
        // end, and everything that was due before it is done.
        self.ready |= self.inventory.settled();
        self.again = true;
    }

    /// Decides on the changes and runs the steps that are due. Returns the number of operations that ran.
    fn round(&mut self, changes: &Changes, servers: &Servers) -> usize {
        let began = kernel::processor_time();
        let (mut plan, mut scope) = self.decide(changes);
        // This comes before anything is written, because an address that the LAN cannot be asked about gets
        // no route.
        let asked = self.ask();
        if asked.changes_verdicts {
            (plan, scope) = self.decide(&Changes { all: true, ..Changes::default() });
        }
        spare_questions(&mut plan, &asked.put);
        let ran = self.run(&plan, &scope);
        let spent = kernel::processor_time().saturating_sub(began);
        self.kernel.charge(&changes.causes, spent);
        servers.ask_first_processes(&self.desired.doubts);
        ran
    }

    fn decide(&mut self, changes: &Changes) -> (Plan, Scope) {
        let (snapshot, now) = (self.kernel.snapshot(), Instant::now());
        let Daemon { desired, config, inventory, memory, .. } = self;
        let inputs = Inputs { config, inventory, snapshot, now };
        let (plan, scope) = decide(desired, memory, &inputs, changes);
        self.questions.look(&self.config, &self.desired, snapshot, &scope, now);
        (plan, scope)
    }

    /// Runs the steps that are due, in order. Returns how many.
    fn run(&mut self, plan: &Plan, scope: &Scope) -> usize {
        let (kernel, counters, desired) = (&mut self.kernel, &mut self.counters, &self.desired);
        let apply = |step: &Step| {
            let progress = kernel.begin(&step.op).map_err(Error::from)?;
            counters.did(&step.op, desired);
            Ok(progress)
        };
        let walked = self.schedule.walk(plan, scope, Instant::now, apply);
        self.counters.walked(&walked, scope, &self.desired);
        self.dirty |= self.memory.take_in(&self.desired, &walked);
        // The log comes last, because a line takes as long to write as a route. A known error is reported
        // once.
        for Walked { step, outcome } in &walked {
            if let Outcome::Ran { result, is_known: false } = outcome {
                op_log::tell(step, result, self.whose(&step.op).as_ref());
            }
        }
        walked.iter().filter(|one| one.has_run()).count()
    }

    /// Remembers the outcome of the steps that had begun earlier.
    fn take_in_ends(&mut self) {
        for (op, result) in self.kernel.ended() {
            // Steps may have waited for it, even if it failed.
            self.dirty = true;
            let result = result.map_err(Error::from);
            self.counters.ended(&op, &result);
            let is_known = self.schedule.is_known(&op, &result);
            let step = self.schedule.ended(&op, Instant::now(), result.clone());
            if let Some(step) = step.filter(|_| !is_known) {
                op_log::tell(&step, &result, self.whose(&step.op).as_ref());
            }
        }
    }
}

impl From<OpError> for Error {
    fn from(OpError { code, message, hint }: OpError) -> Error {
        Error { code, message, hint }
    }
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
