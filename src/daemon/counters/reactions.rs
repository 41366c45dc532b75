//! How long a guest waits for its route.
//!
//! A reaction begins when the loop begins to read the events that bring a change in a guest's namespace. It
//! ends when the kernel has taken the route to an address of that guest. That is all that can be measured:
//! the kernel's events have no time in them, so the time that an event waited in the socket while the loop
//! was busy with others is not in it. A route that had to wait for something, for example for an answer from
//! the LAN, is timed from the same beginning. Routes for any other reason are not counted: those of a new
//! daemon, of a reload, or repairs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::plan::Scope;
use crate::model::snapshot::Netns;
use crate::model::{NetnsId, Op};
use crate::reconcile::Desired;
use crate::reconcile::schedule::Walked;

/// The reactions that have begun.
#[derive(Debug, Default)]
pub(super) struct ReactionClock {
    /// When the loop began to read the last events …
    began: Option<Instant>,
    /// … and the guests' namespaces that they have changed.
    causes: BTreeSet<NetnsId>,
    /// The addresses whose routes wait, each with the beginning of its reaction.
    waiting: BTreeMap<IpAddr, Instant>,
}

impl ReactionClock {
    /// Events were read from `began` on, and have changed something in these namespaces.
    pub(super) fn read(&mut self, began: Instant, causes: &BTreeSet<NetnsId>) {
        self.began = Some(began);
        self.causes.clone_from(causes);
    }

    /// An op has just succeeded. Returns the time of the reaction that ends with it, if it ends one.
    pub(super) fn did(&mut self, op: &Op, desired: &Desired, now: Instant) -> Option<Duration> {
        let address = added(op)?;
        let began = self.waiting.remove(&address).or_else(|| self.beginning(address, desired))?;
        Some(now.saturating_duration_since(began))
    }

    /// A plan was walked through, which is complete for its scope. The routes that have not been made wait.
    pub(super) fn walked(&mut self, walked: &[Walked<'_>], scope: &Scope, desired: &Desired) {
        if self.causes.is_empty() && self.waiting.is_empty() {
            return;
        }
        let is_made = |one: &&Walked<'_>| one.result().is_some_and(Result::is_ok);
        let wait = walked.iter().filter(|one| !is_made(one));
        let wait: BTreeSet<IpAddr> = wait.filter_map(|one| added(&one.step.op)).collect();
        self.waiting.retain(|address, _| match scope {
            Scope::Addresses(looked_at) if !looked_at.contains(address) => true,
            Scope::All | Scope::Addresses(_) => wait.contains(address),
        });
        for address in wait {
            if let Some(began) = self.beginning(address, desired) {
                self.waiting.entry(address).or_insert(began);
            }
        }
    }

    /// When the events were read that may be the reason for the route to an address.
    fn beginning(&self, address: IpAddr, desired: &Desired) -> Option<Instant> {
        let Netns::Id(id) = desired.held.holders.get(&address)?.child.netns else { return None };
        self.began.filter(|_| self.causes.contains(&id))
    }
}

/// The guest's address that an op adds a route to.
fn added(op: &Op) -> Option<IpAddr> {
    match op {
        Op::SetRoute { replace: false, .. } => op.address(),
        _ => None,
    }
}
