//! The first processes of the guests that we are asked for. To report a guest's state its server looks into
//! the guest, and the guest can make it wait. So these questions run beside the listings and delay none of
//! them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, future, stream};
use tokio::time::Instant;

use super::reading::{Reading, Starts};
use super::{api, envelope};
use crate::servers::http::{Client, escaped};
use crate::servers::patience::Patience;
use crate::servers::questions::GuestName;

/// Maximum number of guests that a server is asked about at the same time.
const AT_ONCE: usize = 4;

/// The answers of a server to one round of questions.
pub(in crate::servers) type Answers = Pin<Box<dyn Stream<Item = FirstProcess> + Send>>;

/// A server's answer about one guest.
pub(in crate::servers) struct FirstProcess {
    guest: GuestName,
    started: String,
    /// `None` if it did not say.
    pid: Option<u32>,
}

/// The first processes that are known, and those that are still to be asked for.
#[derive(Default)]
pub(in crate::servers) struct FirstProcesses {
    /// The time of the guest's start, and its first process.
    known: BTreeMap<GuestName, (String, u32)>,
    /// The guests that the last listing leaves open, and that nobody was asked about since.
    wanted: Starts,
    /// How often the server did not answer for a guest.
    unanswered: BTreeMap<GuestName, u32>,
}

impl FirstProcesses {
    /// Enters the known first processes into a new reading. Forgets those of guests that stopped or started
    /// again.
    pub(in crate::servers) fn listed(&mut self, reading: &mut Reading) {
        self.known.retain(|guest, (started, _)| match reading.starts.get(guest) {
            Some(now) => now == started,
            None => reading.runs(guest),
        });
        self.wanted = std::mem::take(&mut reading.starts);
        self.wanted.retain(|guest, _| match self.known.get(guest) {
            Some((_, pid)) => {
                reading.enter_first_process(guest, *pid);
                false
            }
            None => true,
        });
        self.unanswered.retain(|guest, _| self.wanted.contains_key(guest));
    }

    /// Asks for all wanted first processes, if there are any, until the time is up.
    pub(in crate::servers) fn answers(&self, client: &Client, patience: &Patience) -> Option<Answers> {
        if self.wanted.is_empty() {
            return None;
        }
        let until = Instant::now() + patience.first_processes;
        let client = client.clone();
        let asked = stream::iter(self.in_turn()).map(move |(guest, started)| {
            let client = client.clone();
            async move {
                let rest = until.saturating_duration_since(Instant::now());
                if rest.is_zero() {
                    return None;
                }
                let pid = first_process(&client, &guest, rest).await;
                Some(FirstProcess { guest, started, pid })
            }
        });
        Some(Box::pin(asked.buffer_unordered(AT_ONCE).filter_map(future::ready)))
    }

    /// Whether the server did not answer for a guest. It is asked again after the next listing.
    pub(in crate::servers) fn are_missing(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Guests for which the server did not answer come last, so that each of the others gets its turn.
    fn in_turn(&self) -> Vec<(GuestName, String)> {
        let mut guests: Vec<_> = self.wanted.clone().into_iter().collect();
        guests.sort_by_key(|(guest, _)| self.unanswered.get(guest).copied());
        guests
    }

    /// Takes in an answer. Returns the guest and its first process if they are new.
    pub(in crate::servers) fn answered(&mut self, answer: FirstProcess) -> Option<(GuestName, u32)> {
        let FirstProcess { guest, started, pid } = answer;
        // The guest may have started again meanwhile. Then the answer is outdated.
        if self.wanted.get(&guest) != Some(&started) {
            return None;
        }
        self.wanted.remove(&guest);
        let Some(pid) = pid else {
            *self.unanswered.entry(guest).or_default() += 1;
            return None;
        };
        self.unanswered.remove(&guest);
        self.known.insert(guest.clone(), (started, pid));
        Some((guest, pid))
    }
}

/// The first process of a guest. It only helps to tell guests apart, so a missing answer is not an error.
async fn first_process(client: &Client, guest: &GuestName, timeout: Duration) -> Option<u32> {
    let GuestName { project, name } = guest;
    let path = format!("/1.0/instances/{}/state?project={}", escaped(name), escaped(project));
    let state: api::InstanceState = envelope::get(client, &path, timeout).await.ok()?;
    u32::try_from(state.pid).ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_without_an_answer_waits_for_the_others() {
        let guest = |name: &str| GuestName { project: "default".into(), name: name.into() };
        let mut first_processes = FirstProcesses::default();
        for name in ["a", "b", "c", "d"] {
            first_processes.wanted.insert(guest(name), String::new());
        }
        first_processes.unanswered = [(guest("a"), 2), (guest("b"), 1)].into();
        let turns: Vec<_> = first_processes.in_turn().into_iter().map(|(guest, _)| guest.name).collect();
        assert_eq!(turns, ["c", "d", "b", "a"]);
    }
}
