//! `status --check`: one line and the exit status for Nagios, Icinga and their like.

use std::path::Path;

use super::PATH;
use crate::commands::ask::{ask, understand};
use crate::commands::output::print;
use crate::commands::{Failure, NO_DAEMON};
use crate::model::Severity;
use crate::model::status::{Counts, Status};

const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
const UNKNOWN: u8 = 3;

/// Asks the daemon and prints the line.
pub(super) async fn check(socket: &Path) -> Result<u8, Failure> {
    let (line, exit) = match ask(socket, PATH).await.and_then(|body| understand(&body)) {
        Ok(status) => line(&status),
        Err(failure) if failure.exit == NO_DAEMON => {
            ("MACVLAN-SHIM CRITICAL - the daemon does not run, so no guest is followed".to_owned(), CRITICAL)
        }
        Err(failure) => (format!("MACVLAN-SHIM UNKNOWN - {}", failure.message), UNKNOWN),
    };
    print(&format!("{line}\n"))?;
    Ok(exit)
}

/// The verdict, the gravest problem, and the numbers for graphs.
fn line(status: &Status) -> (String, u8) {
    let Counts { wanted, reached } = status.counts;
    let gravest = status.problems.iter().max_by_key(|problem| problem.severity);
    let (word, exit) = match gravest.map(|problem| problem.severity) {
        Some(Severity::Error) => ("CRITICAL", CRITICAL),
        _ if reached < wanted => ("CRITICAL", CRITICAL),
        Some(_) => ("WARNING", WARNING),
        None => ("OK", OK),
    };
    let problems = status.problems.len();
    let about =
        gravest.map(|it| format!(", {}: {} ({})", it.object, it.message, it.code)).unwrap_or_default();
    // A bar begins the numbers.
    let about = about.replace('|', "/");
    let routes: usize = status.shims.iter().map(|shim| shim.routes).sum();
    let line = format!(
        "MACVLAN-SHIM {word} - {reached} of {wanted} running guests reachable{about} | \
         reachable={reached} wanted={wanted} routes={routes} problems={problems}"
    );
    (line, exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;
    use crate::model::status::Problem;

    #[test]
    fn the_gravest_problem_makes_the_verdict() {
        let status = |reached, codes: &[Code]| Status {
            counts: Counts { wanted: 2, reached },
            problems: codes.iter().map(|code| Problem::new(*code, "eth0", "it is a|b", "")).collect(),
            ..Status::default()
        };
        let numbers =
            |reached, problems| format!("reachable={reached} wanted=2 routes=0 problems={problems}");
        for (reached, codes, start, exit) in [
            (2, &[][..], "OK - 2 of 2 running guests reachable", OK),
            (
                2,
                &[Code::NoAddress],
                "WARNING - 2 of 2 running guests reachable, eth0: it is a/b (no-address)",
                WARNING,
            ),
            (
                1,
                &[Code::NoAddress],
                "CRITICAL - 1 of 2 running guests reachable, eth0: it is a/b (no-address)",
                CRITICAL,
            ),
            (
                2,
                &[Code::NoAddress, Code::ParentDown],
                "CRITICAL - 2 of 2 running guests reachable, eth0: it is a/b (parent-down)",
                CRITICAL,
            ),
        ] {
            let expected = format!("MACVLAN-SHIM {start} | {}", numbers(reached, codes.len()));
            assert_eq!(line(&status(reached, codes)), (expected, exit));
        }
    }
}
