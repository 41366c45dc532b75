//! The answer to each path.

use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, refuse};
use super::events::{self, EventsPage};
use super::explain::{self, ExplainPage};
use super::peer::Asker;
use super::root;
use super::status::{self, StatusPage};
use crate::daemon::publishers::Readers;

/// The existing paths.
const PATHS: [&str; 4] = [root::PATH, events::PATH, explain::PATH, status::PATH];

/// Answers requests.
pub(super) struct Router {
    status: StatusPage,
    events: EventsPage,
    explain: ExplainPage,
}

impl Router {
    /// Answers with the loop's answers.
    pub(super) fn new(Readers { reports, explanations, past }: Readers) -> Router {
        Router {
            status: StatusPage::new(reports),
            events: EventsPage::new(past.clone()),
            explain: ExplainPage::new(explanations, past),
        }
    }

    /// The answer to a request of somebody.
    pub(super) async fn answer(&self, request: Request<Incoming>, asker: Asker) -> Answer {
        if asker == Asker::Stranger {
            let message = "only root and the members of the socket's group may ask";
            return refuse(StatusCode::FORBIDDEN, message);
        }
        let asked = request.uri().path();
        let path = asked.trim_end_matches('/');
        if !PATHS.contains(&path) {
            let message = format!("there is no {asked}; there are {}", PATHS.join(", "));
            return refuse(StatusCode::NOT_FOUND, &message);
        }
        if request.method() != Method::GET {
            let message = format!("{asked} can only be read; expected GET, not {}", request.method());
            let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, &message);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        if !request.body().is_end_stream() {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "no request has a body");
        }
        match path {
            events::PATH => self.events.get(request.uri().query().unwrap_or_default()),
            status::PATH => self.status.get().await,
            explain::PATH => self.explain.get(request.uri().query().unwrap_or_default()).await,
            _ => root::get(&PATHS[1..]),
        }
    }
}
