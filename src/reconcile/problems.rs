//! Everything that needs somebody, as far as the decisions tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::admit::{Refusal, Verdict};
use super::desired::Desired;
use super::hold::tenure::Contest;
use super::select::{Decision, NO_ADDRESS};
use crate::model::snapshot::ChildKey;
use crate::model::status::Problem;
use crate::model::{Code, LinkIndex, NicKey, Severity, Snapshot};

impl Desired {
    /// Every problem.
    pub fn all_problems(&self, snapshot: &Snapshot) -> BTreeSet<Problem> {
        let mut problems: BTreeSet<Problem> = self.problems_of_host().collect();
        for (nic, decision) in &self.decisions {
            problems.extend(self.problems_of_nic(snapshot, nic, decision));
        }
        problems
    }

    /// The faults of the host and of the configuration, and the addresses that several NICs have.
    pub fn problems_of_host(&self) -> impl Iterator<Item = Problem> {
        self.problems.iter().cloned().chain(self.held.conflicts())
    }

    /// Why a running NIC that should be served is not reached, or not at each of its addresses: one problem
    /// for each reason, however many addresses a guest has. A parent that is at fault has a problem of its
    /// own.
    fn problems_of_nic(&self, snapshot: &Snapshot, nic: &NicKey, decision: &Decision) -> Vec<Problem> {
        let problem =
            |code: Code, message: &str, cure: &str| Problem::new(code, nic.to_string(), message, cure);
        match decision {
            Decision::Stopped | Decision::Unselected(..) => Vec::new(),
            Decision::Unsupported(code, _) if code.severity() == Severity::Note => Vec::new(),
            Decision::Unsupported(code, message) => vec![problem(*code, message, code.cure())],
            Decision::Unseen(message) => vec![problem(Code::NotSeen, message, Code::NotSeen.cure())],
            Decision::Served { parent, .. } if self.is_out(snapshot, *parent) => Vec::new(),
            Decision::Served { child, .. } if self.held.verdicts(child).next().is_none() => {
                vec![problem(Code::NoAddress, NO_ADDRESS, Code::NoAddress.cure())]
            }
            Decision::Served { child, .. } => {
                let refusals = self.refusals(child).into_iter();
                let told = refusals.map(|(code, (refusal, more))| {
                    let more = match more {
                        0 => String::new(),
                        1 => " (and one more address of it)".to_owned(),
                        more => format!(" (and {more} more addresses of it)"),
                    };
                    let cure = refusal.hint.as_deref().unwrap_or(code.cure());
                    problem(code, &format!("{}{more}", refusal.message), cure)
                });
                told.collect()
            }
        }
    }

    /// Whether no frame passes a parent, or no shim can stand on it.
    fn is_out(&self, snapshot: &Snapshot, parent: LinkIndex) -> bool {
        self.shims.get(&parent).is_some_and(|shim| shim.obstacle.is_some())
            || snapshot.links.get(&parent).is_some_and(|link| link.outage().is_some())
    }

    /// The refusals of addresses of a child that need somebody: the first of each code, and the number of
    /// further ones.
    fn refusals(&self, child: &ChildKey) -> BTreeMap<Code, (Refusal, usize)> {
        let mut refusals: BTreeMap<Code, (Refusal, usize)> = BTreeMap::new();
        for (address, verdict) in self.held.verdicts(child) {
            let Verdict::Refused(refusal) = &*verdict else { continue };
            if refusal.code.severity() == Severity::Note || self.is_in_conflict(refusal, address) {
                continue;
            }
            match refusals.get_mut(&refusal.code) {
                Some((_, more)) => *more += 1,
                None => drop(refusals.insert(refusal.code, (refusal.clone(), 0))),
            }
        }
        refusals
    }

    /// A conflict about the address is a problem that names both NICs.
    fn is_in_conflict(&self, refusal: &Refusal, address: IpAddr) -> bool {
        let contest = || self.held.contests.get(&address);
        refusal.code == Code::Held && matches!(contest(), Some(Contest::Shared { .. }))
    }
}
