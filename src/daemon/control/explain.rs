//! `GET /1.0/explain?subject=…`: why a guest, an address or a MAC is reached, or why not, and what has changed
//! about it lately.

use std::sync::Arc;

use hyper::StatusCode;
use smol_str::SmolStr;

use super::answer::{Answer, refuse, respond, stopping};
use crate::daemon::history::HistoryReader;
use crate::daemon::publishers::{ExplanationReader, Readers, ReportReader};
use crate::model::GuestKey;
use crate::model::explanation::{Explanation, Sought};
use crate::model::history::{StateChange, StateOf};
use crate::report::with_times;

pub(super) const PATH: &str = "/1.0/explain";

/// Maximum length of a subject, in bytes. The longest honest one names a server by its socket.
const LONGEST: usize = 512;

/// Maximum number of changes that an explanation has.
const CHANGES: usize = 5;

/// Explanations, for everybody who asks.
pub(super) struct ExplainPage {
    explanations: ExplanationReader,
    reports: ReportReader,
    past: HistoryReader,
}

impl ExplainPage {
    pub(super) fn new(Readers { explanations, reports, past }: Readers) -> ExplainPage {
        ExplainPage { explanations, reports, past }
    }

    /// The answer to a request with that query.
    pub(super) async fn get(&self, query: &str) -> Answer {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let subject = pairs.find(|(key, _)| key == "subject").map(|(_, value)| value);
        let Some(subject) = subject.filter(|subject| !subject.is_empty() && subject.len() <= LONGEST) else {
            let message = format!(
                "{PATH} needs a subject of at most {LONGEST} bytes: {PATH}?subject=NAME, an address or a MAC"
            );
            return refuse(StatusCode::BAD_REQUEST, &message);
        };
        let explained = self.explanations.ask(Sought::from(&*subject)).await;
        // The times of states are with the report.
        let (Some(explained), Some(report)) = (explained, self.reports.ask(()).await) else {
            return stopping();
        };
        let mut explained = (*explained).clone();
        with_times(&mut explained, &report.status);
        let past = self.past.after(0);
        explained.explanations.iter_mut().for_each(|explanation| remember(explanation, &past));
        respond(StatusCode::OK, &explained)
    }
}

/// Adds the last changes of the NIC, or of the address.
fn remember(explanation: &mut Explanation, past: &[Arc<StateChange>]) {
    let Explanation { guest: own_guest, nic: own_nic, address: only, .. } = &*explanation;
    let is_own = |guest: &GuestKey, nic: &SmolStr| {
        own_guest.as_ref() == Some(guest) && own_nic.as_ref().is_none_or(|own| own == nic)
    };
    let concerns = |change: &&Arc<StateChange>| match &change.of {
        StateOf::Nic { guest, nic } => only.is_none() && is_own(guest, nic),
        StateOf::Address { guest, nic, address } => match own_guest {
            Some(_) => is_own(guest, nic) && only.is_none_or(|only| only == *address),
            None => *only == Some(*address),
        },
        StateOf::Unclaimed { address, .. } => *only == Some(*address),
        _ => false,
    };
    let last: Vec<&Arc<StateChange>> = past.iter().rev().filter(concerns).take(CHANGES).collect();
    // Nobody has the address any more.
    if let Some(StateChange { of: StateOf::Address { guest, nic, .. }, to: None, time, .. }) =
        last.first().map(|change| &***change)
        && explanation.guest.is_none()
    {
        explanation.verdict += &format!("; {guest} {nic} had it until {time}");
    }
    explanation.history = last.into_iter().rev().map(|change| StateChange::clone(change)).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerId;

    fn key(name: &str) -> GuestKey {
        GuestKey::new(ServerId("lxd".into()), "default".into(), name.into())
    }

    fn change(address: &str, to: Option<&str>) -> Arc<StateChange> {
        let guest = key("db-03");
        let of = StateOf::Address { guest, nic: "eth0".into(), address: address.parse().unwrap() };
        let (id, time, from) = (1, Default::default(), Some("routed".into()));
        Arc::new(StateChange { id, time, of, from, to: to.map(Into::into), reason: None, message: None })
    }

    fn remembered(guest: Option<&str>, address: Option<&str>, past: &[Arc<StateChange>]) -> (String, usize) {
        let mut explanation = Explanation {
            guest: guest.map(key),
            nic: guest.map(|_| "eth0".into()),
            address: address.map(|address| address.parse().unwrap()),
            verdict: "it is so".to_owned(),
            ..Explanation::default()
        };
        remember(&mut explanation, past);
        (explanation.verdict, explanation.history.len())
    }

    #[test]
    fn an_address_that_nobody_has_is_told_with_its_last_owner() {
        let (so, had) = ("it is so", "it is so; lxd:db-03 eth0 had it until 1970-01-01T00:00:00.000Z");
        let past = [change("10.0.0.9", Some("routed")), change("10.0.0.8", None), change("10.0.0.9", None)];
        for (guest, address, past, (verdict, changes)) in [
            (None, Some("10.0.0.9"), &past[..], (had, 2)),
            (None, Some("10.0.0.9"), &past[..2], (so, 1)),
            (Some("db-03"), None, &past, (so, 3)),
            (Some("db-03"), Some("10.0.0.8"), &past, (so, 1)),
            (Some("db-04"), None, &past, (so, 0)),
            (Some("db-04"), Some("10.0.0.9"), &past, (so, 0)),
            (None, None, &past, (so, 0)),
        ] {
            let expected = (verdict.to_owned(), changes);
            assert_eq!(remembered(guest, address, past), expected, "{guest:?} {address:?}");
        }
    }

    #[test]
    fn only_the_last_changes_are_told() {
        let past: Vec<_> = (0..9).map(|_| change("10.0.0.9", Some("routed"))).collect();
        assert_eq!(remembered(None, Some("10.0.0.9"), &past).1, CHANGES);
    }
}
