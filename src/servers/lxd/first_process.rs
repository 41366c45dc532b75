//! The first processes of those guests that they are asked for. For a guest's state its server looks into the guest,
//! which may make it wait; so they are asked for beside the listings and hold none of them back.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, future, stream};
use tokio::time::Instant;

use super::api;
use super::read::Reading;
use crate::servers::http::{Client, escaped};
use crate::servers::patience::Patience;
use crate::servers::questions::GuestName;

/// So many guests are asked for at a time.
const AT_ONCE: usize = 4;

/// Guests, each with the time of its last start as its server writes it: another time, another first process.
pub(super) type Starts = BTreeMap<GuestName, String>;

/// The answers of a server that is asked for one guest after the other.
pub(in crate::servers) type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// What a server said of one guest.
pub(in crate::servers) struct Answer {
    guest: GuestName,
    started: String,
    init: Option<u32>,
}

/// What is known of first processes, and of whom it is to be asked.
#[derive(Default)]
pub(in crate::servers) struct FirstProcesses {
    /// With the time of the guest's start.
    known: BTreeMap<GuestName, (String, u32)>,
    /// Those that the last listing leaves open and that were not asked for since.
    wanted: Starts,
    /// How often they were asked for in vain.
    vain: BTreeMap<GuestName, u32>,
}

impl FirstProcesses {
    /// Enters what is known of the guests of a new reading, and forgets it of those that stopped or started anew.
    pub(in crate::servers) fn listed(&mut self, reading: &mut Reading) {
        self.known.retain(|guest, (started, _)| match reading.starts.get(guest) {
            Some(now) => now == started,
            None => reading.runs(guest),
        });
        self.wanted = std::mem::take(&mut reading.starts);
        self.wanted.retain(|guest, _| match self.known.get(guest) {
            Some((_, init)) => {
                reading.enter_first_process(guest, *init);
                false
            }
            None => true,
        });
        self.vain.retain(|guest, _| self.wanted.contains_key(guest));
    }

    /// Asks for all that are wanted, if any are, until the time is up.
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
                let init = init(&client, &guest, rest).await;
                Some(Answer { guest, started, init })
            }
        });
        Some(Box::pin(asked.buffer_unordered(AT_ONCE).filter_map(future::ready)))
    }

    /// Those that were asked for in vain come after the others, so that they keep none from its turn.
    fn in_turn(&self) -> Vec<(GuestName, String)> {
        let mut guests: Vec<_> = self.wanted.clone().into_iter().collect();
        guests.sort_by_key(|(guest, _)| self.vain.get(guest).copied());
        guests
    }

    /// Takes in an answer; says whether the reading is richer for it.
    pub(in crate::servers) fn answered(&mut self, answer: Answer, reading: &mut Reading) -> bool {
        let Answer { guest, started, init } = answer;
        // Of a guest that started anew meanwhile it says nothing.
        if self.wanted.get(&guest) != Some(&started) {
            return false;
        }
        self.wanted.remove(&guest);
        let Some(init) = init else {
            *self.vain.entry(guest).or_default() += 1;
            return false;
        };
        self.vain.remove(&guest);
        reading.enter_first_process(&guest, init);
        self.known.insert(guest, (started, init));
        true
    }
}

/// The first process of a guest. It only helps to tell guests apart, so a server that does not say is not at fault.
async fn init(client: &Client, (project, name): &GuestName, timeout: Duration) -> Option<u32> {
    let path = format!("/1.0/instances/{}/state?project={}", escaped(name), escaped(project));
    let state: api::InstanceState = client.get(&path, timeout).await.ok()?;
    u32::try_from(state.pid).ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_for_in_vain_waits_for_the_others() {
        let guest = |name: &str| ("default".to_owned(), name.to_owned());
        let mut first_processes = FirstProcesses::default();
        for name in ["a", "b", "c", "d"] {
            first_processes.wanted.insert(guest(name), String::new());
        }
        first_processes.vain = [(guest("a"), 2), (guest("b"), 1)].into();
        let turns: Vec<_> = first_processes.in_turn().into_iter().map(|((_, name), _)| name).collect();
        assert_eq!(turns, ["c", "d", "b", "a"]);
    }
}
