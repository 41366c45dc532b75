//! `GET /1.0/explain?subject=…`: why a guest, an address or a MAC is reached, or why not, and what has changed
//! about it lately.

use std::sync::Arc;

use hyper::StatusCode;

use super::answer::{Answer, refuse, respond, stopping};
use crate::daemon::history::HistoryReader;
use crate::daemon::publishers::ExplanationReader;
use crate::model::explanation::{Explanation, Sought};
use crate::model::history::{StateChange, StateOf};

pub(super) const PATH: &str = "/1.0/explain";

/// Maximum length of a subject, in bytes. The longest honest one names a server by its socket.
const LONGEST: usize = 512;

/// Maximum number of changes that an explanation has.
const CHANGES: usize = 5;

/// Explanations, for everybody who asks.
pub(super) struct ExplainPage {
    explanations: ExplanationReader,
    past: HistoryReader,
}

impl ExplainPage {
    pub(super) fn new(explanations: ExplanationReader, past: HistoryReader) -> ExplainPage {
        ExplainPage { explanations, past }
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
        let Some(explained) = self.explanations.ask(Sought::from(&*subject)).await else {
            return stopping();
        };
        let mut explained = (*explained).clone();
        let past = self.past.after(0);
        explained.explanations.iter_mut().for_each(|explanation| remember(explanation, &past));
        respond(StatusCode::OK, &explained)
    }
}

/// Adds the last changes of the NIC, or of the address.
fn remember(explanation: &mut Explanation, past: &[Arc<StateChange>]) {
    let subject = explanation.subject.clone();
    let concerns = |change: &&Arc<StateChange>| match &change.of {
        StateOf::Nic { guest, nic } => subject == format!("{guest} {nic}"),
        StateOf::Address { guest, nic, address } => {
            subject == address.to_string()
                || subject == format!("{guest} {nic}")
                || subject == format!("{address} ({guest} {nic})")
        }
        StateOf::Unclaimed { address, .. } => subject
            .strip_prefix(&address.to_string())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
        _ => false,
    };
    let last: Vec<&Arc<StateChange>> = past.iter().rev().filter(concerns).take(CHANGES).collect();
    // Nobody has the address any more.
    if let Some(StateChange { of: StateOf::Address { guest, nic, address }, to: None, time, .. }) =
        last.first().map(|change| &***change)
        && subject == address.to_string()
    {
        explanation.verdict += &format!("; {guest} {nic} had it until {time}");
    }
    explanation.history = last.into_iter().rev().map(|change| StateChange::clone(change)).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GuestKey, ServerId};

    fn change(address: &str, to: Option<&str>) -> Arc<StateChange> {
        let guest = GuestKey::new(ServerId("lxd".into()), "default".into(), "db-03".into());
        let of = StateOf::Address { guest, nic: "eth0".into(), address: address.parse().unwrap() };
        let (id, time, from) = (1, Default::default(), Some("routed".into()));
        Arc::new(StateChange { id, time, of, from, to: to.map(Into::into), reason: None, message: None })
    }

    fn remembered(subject: &str, past: &[Arc<StateChange>]) -> (String, usize) {
        let mut explanation = Explanation {
            subject: subject.to_owned(),
            verdict: "it is so".to_owned(),
            reached: None,
            steps: Vec::new(),
            addresses: Vec::new(),
            history: Vec::new(),
        };
        remember(&mut explanation, past);
        (explanation.verdict, explanation.history.len())
    }

    #[test]
    fn an_address_that_nobody_has_is_told_with_its_last_owner() {
        let had = "it is so; lxd:db-03 eth0 had it until 1970-01-01T00:00:00.000Z";
        let past = [change("10.0.0.9", Some("routed")), change("10.0.0.8", None), change("10.0.0.9", None)];
        assert_eq!(remembered("10.0.0.9", &past), (had.to_owned(), 2));
        assert_eq!(remembered("10.0.0.9", &past[..2]), ("it is so".to_owned(), 1));
        assert_eq!(remembered("lxd:db-03 eth0", &past), ("it is so".to_owned(), 3));
        assert_eq!(remembered("10.0.0.8 (lxd:db-03 eth0)", &past), ("it is so".to_owned(), 1));
        assert_eq!(remembered("lxd:db-04 eth0", &past), ("it is so".to_owned(), 0));
    }

    #[test]
    fn only_the_last_changes_are_told() {
        let past: Vec<_> = (0..9).map(|_| change("10.0.0.9", Some("routed"))).collect();
        assert_eq!(remembered("10.0.0.9", &past).1, CHANGES);
    }
}
