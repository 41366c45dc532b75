//! Ops that fail, and ops that somebody else keeps undoing.

use std::net::IpAddr;
use std::time::Instant;

use super::history::{Error, History, forget};
use super::{FIGHT_ROUNDS, Schedule};
use crate::model::Op;

impl Schedule {
    /// The error of an op's last try, if that failed.
    pub fn error_of(&self, op: &Op) -> Option<&Error> {
        self.track(op)?.history.as_ref()?.error.as_ref()
    }

    /// Whether an op fails with the same error as the last time.
    pub fn is_known(&self, op: &Op, result: &Result<(), Error>) -> bool {
        result.as_ref().err().is_some_and(|error| self.error_of(op) == Some(error))
    }

    /// The number of ops that it remembers. A guest that flips through addresses cannot make this grow
    /// without bound.
    pub fn remembered(&self) -> usize {
        self.tracks.values().map(Vec::len).sum()
    }

    /// The ops that fail now, each with its last error.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &Error)> {
        self.histories().filter_map(|(op, history)| Some((op, history.error.as_ref()?)))
    }

    /// Those of them that are about one address, or about none.
    pub fn failures_at(&self, address: Option<IpAddr>) -> impl Iterator<Item = (&Op, &Error)> {
        let tracks = self.tracks.get(&address).into_iter().flatten();
        tracks.filter_map(|(op, track)| Some((op, track.history.as_ref()?.error.as_ref()?)))
    }

    /// The ops that somebody else keeps undoing.
    pub fn fights(&self, now: Instant) -> impl Iterator<Item = (&Op, &History)> {
        self.histories().filter(move |(_, history)| {
            history.error.is_none() && history.rounds > FIGHT_ROUNDS && !history.is_over(now)
        })
    }

    fn histories(&self) -> impl Iterator<Item = (&Op, &History)> {
        let tracks = self.tracks.values().flatten();
        tracks.filter_map(|(op, track)| Some((op, track.history.as_ref()?)))
    }

    /// If we reverse our own change, that is no fight. Once a shim is repaired, the failures of ops on it are
    /// forgotten, because the broken shim may have caused them.
    pub(super) fn forget_our_own_reversals(&mut self) {
        for (link, destination, deletes) in std::mem::take(&mut self.turned) {
            let undone = |op: &Op| op.deletes() != deletes && op.object() == (link.as_str(), destination);
            match destination {
                Some(destination) => {
                    for subject in [None, Some(destination.addr())] {
                        let tracks = self.tracks.get_mut(&subject);
                        forget(tracks, |op, _| undone(op));
                    }
                }
                None => {
                    let upon_it = |op: &Op, history: &History| {
                        let (of, destination) = op.object();
                        let at_once = deletes || destination.is_some() || history.error.is_some();
                        of == link && !op.deletes() && at_once
                    };
                    for tracks in self.tracks.values_mut() {
                        forget(Some(tracks), |op, history| undone(op) || upon_it(op, history));
                    }
                }
            }
        }
    }
}
