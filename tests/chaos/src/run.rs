//! A run: bursts and quiet moments, until the time is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::account::Account;
use crate::burst::{self, Act, Burst, Pace};
use crate::dice::Dice;
use crate::foreign::{restore, witness};
use crate::intent::Intent;
use crate::invariant::foreign::Before;
use crate::model::{Memory, News};
use crate::operation::Drawn;
use crate::quiet;
use crate::site::Site;
use crate::truth::Truth;

/// The number of operations that are shown with a violation.
const SHOWN: usize = 40;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the daemon.
    pub binary: String,
    /// How long it lasts.
    pub length: Length,
    /// How much happens in a burst.
    pub pace: Pace,
    /// Decides which operations are done.
    pub seed: u64,
    /// Continues after a violation.
    pub go_on: bool,
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// New bursts begin within this time.
    Time(Duration),
    /// This many bursts. The same seed then gives the same operations, however fast the machine is.
    Bursts(usize),
}

/// Runs, and passes `tell` a line about each burst.
///
/// # Errors
/// If the site cannot be set up or read, or the daemon ends by itself. A violation is no error: it is in
/// [`Account::violations`].
pub fn run(options: &Options, mut tell: impl FnMut(&str)) -> Result<Account> {
    let site = Site::new(&options.binary)?;
    let mut run = Run {
        site: &site,
        intent: Intent::default(),
        before: prepare(&site)?,
        memory: Memory::default(),
        news: News::default(),
        last: VecDeque::new(),
        account: Account::new(options.seed),
    };
    let (mut dice, mut drawn) = (Dice::new(options.seed), Drawn::new());
    let mut burst = Burst::none();
    let mut parent = run.intent.uplink.name;
    let start = Instant::now();
    loop {
        let line = run.burst(&burst, parent).with_context(|| run.picture(&[]))?;
        tell(&format!("{:>4}  {line}", run.account.bursts));
        let over = match options.length {
            Length::Time(time) => start.elapsed() >= time,
            Length::Bursts(bursts) => run.account.bursts == bursts,
        };
        if over || (!run.account.violations.is_empty() && !options.go_on) {
            return Ok(run.account);
        }
        run.account.bursts += 1;
        parent = run.intent.uplink.name;
        burst = burst::draw(options.pace, &mut dice, &mut drawn, &mut run.intent);
    }
}

/// The witness, the foreign objects, and the daemon.
fn prepare(site: &Site) -> Result<Before> {
    let intent = Intent::default();
    site.host.sh("ip route flush proto boot; ip -6 route flush proto boot")?;
    site.host.sh(&format!("{}{}", witness(), restore(&intent)))?;
    site.under_test.start()?;
    let truth = lab::eventually(Duration::from_secs(20), || Truth::read(site, &intent))?;
    Ok(Before::new(&truth))
}

struct Run<'a> {
    site: &'a Site,
    intent: Intent,
    before: Before,
    memory: Memory,
    news: News,
    last: VecDeque<String>,
    account: Account,
}

impl Run<'_> {
    /// One burst and the quiet moment after it, as one line. `parent` is the former name of the uplink.
    fn burst(&mut self, burst: &Burst, parent: &'static str) -> Result<String> {
        let mut told = Vec::new();
        for stage in &burst.stages {
            std::thread::sleep(stage.gap);
            let at_once = self.perform(&stage.acts);
            told.push(at_once.join(" | "));
        }
        self.news = News {
            generation: self.site.under_test.generation(),
            subjects: burst.acts().map(|act| act.operation.subject()).collect(),
            impostor: burst.acts().any(|act| act.intent.has_impostor()),
            contested: burst.acts().flat_map(|act| act.intent.contested()).collect(),
            told: burst.acts().all(|act| act.operation.is_told()),
            parents: std::iter::once(parent).chain(burst.acts().map(|act| act.intent.uplink.name)).collect(),
            other_macs: burst.acts().any(|act| act.operation.brings_a_mac()),
        };
        self.put_back()?;
        let (site, intent) = (self.site, &self.intent);
        let outcome = match quiet::wait(site, intent, &self.before, &mut self.memory, &self.news)? {
            Ok(converged) => {
                self.account.converged(converged);
                let open = burst.acts().any(|act| act.operation.opens_the_wire());
                let strangers = Some(site.wire.strangers()).filter(|_| !open).unwrap_or_default();
                let seen = [site.complaints(), strangers].concat();
                if seen.is_empty() {
                    format!("right after {:.2} s", converged.reach.as_secs_f64())
                } else {
                    self.violated(seen)
                }
            }
            Err(found) => self.violated(found),
        };
        Ok(format!("{} → {outcome}", if told.is_empty() { "nothing".to_owned() } else { told.join("; ") }))
    }

    /// Performs operations at once. Returns their sentences, and those that were not possible.
    fn perform(&mut self, acts: &[Act]) -> Vec<String> {
        let site = self.site;
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let perform = |act: &'_ Act| act.operation.perform(site, &act.intent);
            let threads: Vec<_> = acts.iter().map(|act| scope.spawn(move || perform(act))).collect();
            let panicked = || Err(anyhow::anyhow!("the thread panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
        });
        let mut told = Vec::new();
        for (act, result) in acts.iter().zip(results) {
            self.account.did(act.operation.kind(), result.is_ok());
            let (line, note) = match result {
                Ok(()) => (act.operation.to_string(), String::new()),
                Err(error) => (format!("({})", act.operation), format!(": {error:#}")),
            };
            self.last.push_back(format!("{line}{}", note.replace('\n', " ")));
            told.push(line);
        }
        while self.last.len() > SHOWN {
            self.last.pop_front();
        }
        told
    }

    /// Enters the violations, and records the state of everything.
    fn violated(&mut self, found: Vec<String>) -> String {
        let picture = self.picture(&found);
        self.account.violations.extend(found);
        picture
    }

    /// Objects that the kernel took away together with others are put back, and guests that failed to start
    /// are started.
    fn put_back(&self) -> Result<()> {
        self.site.host.sh(&restore(&self.intent)).context("putting back foreign objects")?;
        Ok(())
    }

    /// Everything that matters about a violation.
    fn picture(&self, found: &[String]) -> String {
        let network = self.site.host.sh(
            "ip -d addr; ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; ip neigh; \
             ip -6 neigh show proxy",
        );
        let status = self.site.under_test.status_table();
        let guests = (0..crate::site::ROLES.len())
            .map(|guest| self.site.in_guest(guest, "ip -o addr show dev eth0; ip neigh").unwrap_or_default());
        let log = self.site.under_test.log();
        let log = log[log.len().saturating_sub(80)..].join("\n");
        let section = |title: &str, text: &str| format!("\n── {title}\n{text}");
        [
            section("violations", &found.join("\n")),
            section("intent", &format!("{:?}", self.intent)),
            section("the last operations", &self.last.iter().cloned().collect::<Vec<_>>().join("\n")),
            section("status", &status.unwrap_or_else(|error| format!("{error:#}"))),
            section("the host", &network.unwrap_or_else(|error| format!("{error:#}"))),
            section("the guests", &guests.collect::<Vec<_>>().join("\n")),
            section("the daemon's log", &log),
        ]
        .concat()
    }
}
