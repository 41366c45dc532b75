//! The questions to the LAN that were put and whose answers are not known yet. The answer comes as a
//! neighbour entry of the parent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::snapshot::{Neighbour, NeighbourState};
use crate::model::tally::LanAnswer;
use crate::model::{LinkIndex, Op, Snapshot};

/// How long an answer is waited for. The kernel asks three times, a second apart.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open questions: at most one an address.
#[derive(Debug, Default)]
pub(super) struct OpenProbes(BTreeMap<IpAddr, OpenProbe>);

#[derive(Debug)]
struct OpenProbe {
    parent: LinkIndex,
    put: Instant,
}

impl OpenProbes {
    /// A question was put.
    pub(super) fn put(&mut self, question: &Op, now: Instant) {
        let (Some(address), Some(parent)) = (question.address(), question.link().and_then(|link| link.index))
        else {
            return;
        };
        // A question that is put once more before it is answered counts as one.
        self.0.entry(address).or_insert(OpenProbe { parent, put: now });
    }

    /// Takes out the questions that have an answer by now, and returns their answers. To be called after
    /// events were read, because until then the snapshot may have the entry of an earlier question.
    pub(super) fn answered(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<LanAnswer> {
        let mut answers = Vec::new();
        self.0.retain(|address, OpenProbe { parent, put }| {
            let entry = snapshot.neighbours.get(&(*address, *parent));
            let late = (now.saturating_duration_since(*put) > PATIENCE).then_some(LanAnswer::Unknown);
            let answer = entry.and_then(shown).or(late);
            answers.extend(answer);
            answer.is_none()
        });
        answers
    }
}

/// The answer that an entry shows, if it shows one.
fn shown(entry: &Neighbour) -> Option<LanAnswer> {
    match entry.state {
        NeighbourState::Failed if entry.ours => Some(LanAnswer::Free),
        NeighbourState::Reachable => Some(LanAnswer::Taken),
        _ => None,
    }
}
