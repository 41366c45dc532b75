//! `status`: asks the daemon and shows its answer.

mod check;
mod list;
mod remains;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};

use super::ask::{ask, understand};
use super::output::{Look, print};
use super::table::{self, Wishes};
use super::{FAILED, Failure, GOOD, block_on};
use crate::cli::StatusArgs;
use crate::model::status::Status;
use crate::model::text;

pub(super) const PATH: &str = "/1.0/status";

/// How often a daemon that is not ready is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows the status of the daemon behind a control socket.
pub fn status(socket: &Path, arguments: StatusArgs) -> Result<u8, Failure> {
    block_on(async {
        if let Some(patience) = arguments.wait {
            wait(socket, patience).await?;
        }
        match &arguments {
            StatusArgs { check: true, .. } => check::check(socket).await,
            StatusArgs { list: true, .. } => {
                print(&list::list(&understand(&ask(socket, PATH).await?)?))?;
                Ok(GOOD)
            }
            StatusArgs { watch: true, .. } => watch::watch(socket, &arguments).await,
            _ => {
                let body = ask(socket, PATH).await.map_err(|failure| remains::told(failure, socket))?;
                print(&shown(&body, &arguments, Look::of_stdout())?)?;
                verdict(&body, &arguments.names)
            }
        }
    })?
}

/// The daemon's answer in the form that the user wants.
fn shown(body: &str, arguments: &StatusArgs, look: Look) -> Result<String, Failure> {
    let StatusArgs { names, json, all, problems, sort, .. } = arguments;
    if *json && names.is_empty() {
        return Ok(body.to_owned());
    }
    let mut status: Status = understand(body)?;
    for name in names {
        if !status
            .guests
            .iter()
            .any(|guest| table::is_named(&guest.key().to_string(), std::slice::from_ref(name)))
        {
            return Err(unknown(name, &status));
        }
    }
    if *json {
        status.problems = table::about(&status, names).into_iter().cloned().collect();
        status.guests.retain(|guest| table::is_named(&guest.key().to_string(), names));
        return Ok(serde_json::to_string_pretty(&status)? + "\n");
    }
    let wishes = Wishes { names, all: *all, problems: *problems, sort: *sort };
    Ok(table::render(&status, wishes, look))
}

fn unknown(name: &str, status: &Status) -> Failure {
    let name = text::visible(name);
    let failure = Failure::new(format!("no guest {name} with a macvlan NIC is known"));
    let known: Vec<&str> = status.guests.iter().map(|guest| guest.name.as_str()).collect();
    match text::closest(&name, &known) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("status shows all guests with macvlan NICs, by their servers' names"),
    }
}

/// Waits until the daemon is ready.
async fn wait(socket: &Path, patience: Duration) -> Result<(), Failure> {
    let end = Instant::now() + patience;
    loop {
        let last = match ask(socket, PATH).await.and_then(|body| understand::<Status>(&body)) {
            Ok(status) if status.ready => return Ok(()),
            Ok(_) => Failure::new(format!("it is not ready after {} s", patience.as_secs_f32()))
                .hint("status shows the servers that are still to be read"),
            Err(failure) => failure,
        };
        if Instant::now() >= end {
            return Err(last);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The exit status for the daemon's answer: good if nothing is a problem, as far as these guests are concerned.
/// Without names any version of the daemon will do.
fn verdict(body: &str, names: &[String]) -> Result<u8, Failure> {
    let is_good = match names {
        [] => {
            serde_json::from_str::<serde_json::Value>(body)?["problems"].as_array().is_some_and(Vec::is_empty)
        }
        names => table::about(&understand(body)?, names).is_empty(),
    };
    Ok(if is_good { GOOD } else { FAILED })
}
