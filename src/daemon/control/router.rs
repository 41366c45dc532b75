//! The answer to each path.

use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, refuse};
use super::events::{self, EventsPage};
use super::explain::{self, ExplainPage};
use super::page::Page;
use super::peer::Asker;
use super::{metrics, root, status};
use crate::daemon::publishers::{Readers, ReportReader};

/// The paths at the control socket.
const CONTROL: &[&str] = &[root::PATH, events::PATH, explain::PATH, status::PATH, metrics::PATH];
/// The only path at a socket that systemd passes to us, where anybody may ask who can connect.
const METRICS: &[&str] = &[metrics::PATH];

/// Answers requests.
pub(super) struct Router {
    /// `None` if there is nothing but metrics.
    control: Option<ControlPages>,
    metrics: Page,
}

/// The pages at the control socket alone.
struct ControlPages {
    status: Page,
    events: EventsPage,
    explain: ExplainPage,
}

impl Router {
    /// Answers with the loop's answers.
    pub(super) fn new(readers: Readers) -> Router {
        let metrics = Page::new(readers.reports.clone());
        let control = ControlPages {
            status: Page::new(readers.reports.clone()),
            events: EventsPage::new(readers.past.clone()),
            explain: ExplainPage::new(readers),
        };
        Router { control: Some(control), metrics }
    }

    /// Answers only for the metrics.
    pub(super) fn of_metrics(reports: ReportReader) -> Router {
        Router { control: None, metrics: Page::new(reports) }
    }

    /// The answer to a request of somebody.
    pub(super) async fn answer(&self, request: Request<Incoming>, asker: Asker) -> Answer {
        if asker == Asker::Stranger {
            let message = "only root and the members of the socket's group may ask";
            return refuse(StatusCode::FORBIDDEN, message);
        }
        let asked = request.uri().path();
        let path = asked.trim_end_matches('/');
        let (paths, verb) = if self.control.is_some() { (CONTROL, "are") } else { (METRICS, "is") };
        if !paths.contains(&path) {
            let message = format!("there is no {asked}; there {verb} {}", paths.join(", "));
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
        let query = request.uri().query().unwrap_or_default();
        match (path, &self.control) {
            (metrics::PATH, _) => metrics::get(&self.metrics).await,
            (events::PATH, Some(pages)) => pages.events.get(query),
            (status::PATH, Some(pages)) => status::get(&pages.status).await,
            (explain::PATH, Some(pages)) => pages.explain.get(query).await,
            _ => root::get(&CONTROL[1..]),
        }
    }
}
