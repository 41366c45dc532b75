//! The log of problems: a line when one appears, and one when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::log_fields::{OVER, PROBLEM, SubjectFields};
use crate::model::Code;
use crate::model::code::Topic;
use crate::model::status::Problem;
use crate::model::text;

/// The time between two looks at the problems while things change. A problem is logged when the second look
/// finds it still there, because most faults mend themselves in a moment.
const PACE: Duration = Duration::from_secs(1);

/// How long a problem that is over has to stand when it comes back, before it is logged again. A guest may make
/// one come and go all the time.
const CALM: Duration = Duration::from_secs(60);

/// The code and the object of a problem. Its sentence may change meanwhile.
type ProblemKey = (String, String);

/// The problems as the log has them.
#[derive(Debug, Default)]
pub(super) struct ProblemLog {
    /// Those that were logged and are not over.
    told: BTreeSet<ProblemKey>,
    /// Those that stand and were not logged yet, each with the time when it is.
    fresh: BTreeMap<ProblemKey, Instant>,
    /// Those that were over lately, each with the time until which that counts.
    lately: BTreeMap<ProblemKey, Instant>,
    due: Option<Instant>,
}

/// News for the log.
#[derive(Debug, PartialEq)]
enum News<'a> {
    Stands(&'a Problem),
    IsOver(ProblemKey),
}

impl ProblemLog {
    /// To be called when something may have changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.due.get_or_insert(now + PACE);
    }

    /// When the next look is due.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.due
    }

    /// Logs the news, given all problems.
    pub(super) fn look(&mut self, now: Instant, problems: &[Problem]) {
        for news in self.news(now, problems) {
            let (code, object) = match &news {
                News::Stands(problem) => (&problem.code, &problem.object),
                News::IsOver((code, object)) => (code, object),
            };
            let SubjectFields { server, project, guest, nic } = SubjectFields::of_object(object);
            macro_rules! log {
                ($level:ident, $id:expr, $reason:expr, $($sentence:tt)+) => {
                    tracing::$level!(
                        message_id = $id, server, project, guest, nic, object, problem = code, reason = $reason,
                        "{}", text::words(&format!($($sentence)+))
                    )
                };
            }
            match &news {
                News::Stands(Problem { message, hint, .. }) => {
                    log!(warn, PROBLEM, Some(message.as_str()), "{object}: {message} ({code}); {hint}");
                }
                News::IsOver(_) => log!(info, OVER, None::<&str>, "{object}: no longer {code}"),
            }
        }
    }

    fn news<'a>(&mut self, now: Instant, problems: &'a [Problem]) -> Vec<News<'a>> {
        let all = problems.iter().filter(|problem| !is_logged_elsewhere(problem));
        let all: BTreeMap<ProblemKey, &Problem> =
            all.map(|problem| ((problem.code.clone(), problem.object.clone()), problem)).collect();
        self.fresh.retain(|key, _| all.contains_key(key));
        self.lately.retain(|_, until| *until > now);
        let mut news = Vec::new();
        for (key, problem) in &all {
            if self.told.contains(key) {
                continue;
            }
            let soon = self.lately.get(key).copied().unwrap_or(now + PACE);
            let due = *self.fresh.entry(key.clone()).or_insert(soon);
            if due <= now {
                self.fresh.remove(key);
                self.told.insert(key.clone());
                news.push(News::Stands(problem));
            }
        }
        let over: Vec<ProblemKey> = self.told.iter().filter(|key| !all.contains_key(*key)).cloned().collect();
        for key in over {
            self.told.remove(&key);
            self.lately.insert(key.clone(), now + CALM);
            news.push(News::IsOver(key));
        }
        self.due = self.fresh.values().min().map(|due| (*due).max(now + PACE));
        news
    }
}

/// A failed operation, a server and a faulty configuration have lines of their own, with more about them.
fn is_logged_elsewhere(problem: &Problem) -> bool {
    let code = Code::named(&problem.code);
    code.is_some_and(|code| {
        code.topic() == Topic::Operation
            || matches!(
                code,
                Code::ServerFailed
                    | Code::ServerIncomplete
                    | Code::ServerAbsent
                    | Code::ConfigRejected
                    | Code::KernelUnread
                    | Code::MoreFailures
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: Code, object: &str) -> Problem {
        Problem::new(code, object, "it is so", "change it")
    }

    fn key(code: Code, object: &str) -> ProblemKey {
        (code.to_string(), object.to_owned())
    }

    #[test]
    fn a_problem_is_logged_once_when_it_stands_and_once_when_it_is_over() {
        let start = Instant::now();
        let at = |second| start + PACE * second;
        let mut log = ProblemLog::default();
        assert_eq!(log.wake(), None);
        log.changed(start);
        log.changed(at(5));
        assert_eq!(log.wake(), Some(at(1)));

        let down = [problem(Code::ParentDown, "eth0")];
        assert_eq!(log.news(at(1), &down), [], "it may be over in a moment");
        assert_eq!(log.wake(), Some(at(2)));
        assert_eq!(log.news(at(2), &down), [News::Stands(&down[0])]);
        assert_eq!(log.wake(), None, "nothing is to be looked at until something changes");
        assert_eq!(log.news(at(7), &down), []);
        assert_eq!(log.news(at(8), &[]), [News::IsOver(key(Code::ParentDown, "eth0"))]);
        assert_eq!(log.news(at(9), &[]), []);
    }

    /// A guest that adds and deletes an address for ever gets two lines a minute.
    #[test]
    fn a_problem_that_comes_and_goes_is_logged_once_a_minute() {
        let start = Instant::now();
        let mut log = ProblemLog::default();
        let off = [problem(Code::OffLink, "lxd:web eth0")];
        let mut lines = 0;
        for round in 0..120 {
            // It stands for two looks and is away for one.
            let stands = round % 3 != 2;
            lines += log.news(start + PACE * round, if stands { &off } else { &[] }).len();
        }
        assert!((2..=4).contains(&lines), "{lines} lines in two minutes");
        for second in 120..300 {
            lines += log.news(start + PACE * second, &off).len();
        }
        assert!((3..=5).contains(&lines), "it stands, and is logged in the end");
    }

    #[test]
    fn what_is_over_at_the_second_look_is_not_logged() {
        let start = Instant::now();
        let mut log = ProblemLog::default();
        assert_eq!(log.news(start, &[problem(Code::NoAddress, "lxd:web eth0")]), []);
        assert_eq!(log.news(start + PACE, &[]), []);
        assert_eq!(log.wake(), None);
    }

    #[test]
    fn operations_and_servers_have_lines_of_their_own() {
        let start = Instant::now();
        let mut log = ProblemLog::default();
        let all = [problem(Code::Exists, "mvs-eth0"), problem(Code::ServerFailed, "lxd")];
        for second in 0..3 {
            assert_eq!(log.news(start + PACE * second, &all), []);
        }
        assert_eq!(log.wake(), None);
    }
}
