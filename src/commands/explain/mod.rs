//! `explain`: why a guest, an address or a MAC is reached, or why not. The daemon explains what it knows, and
//! the command adds what only a look at this moment tells: the kernel's way, the firewall, the guest's answer.
//!
//! | file | contents |
//! | --- | --- |
//! | `evidence` | the steps that need a look at this moment |
//! | `probe` | asks a guest for an answer |
//! | `firewall` | the host's own firewall |
//! | `origin` | the profile that a NIC comes from |
//! | `others` | instances that the daemon does not know, because they have no macvlan NIC |
//! | `show` | the look on a terminal |

mod evidence;
mod firewall;
mod origin;
mod others;
mod probe;
mod show;

use std::path::Path;

use super::ask::{ask, understand};
use super::output::{Look, print};
use super::scratch::Scratch;
use super::{FAILED, Failure, GOOD, NO_DAEMON, block_on};
use crate::cli::ExplainArgs;
use crate::model::explanation::{Explanations, Sought};
use crate::model::text;
use crate::report;

/// Explains the subject.
pub fn explain(config_file: Option<&Path>, socket: &Path, arguments: &ExplainArgs) -> Result<u8, Failure> {
    let sought = Sought::from(arguments.subject.as_str());
    let mut explained = known(config_file, socket, &arguments.subject, &sought)?;
    if explained.explanations.is_empty() {
        let found = others::find(config_file, &sought)?;
        explained.explanations = found.explanations;
        explained.similar = explained.similar.or(found.similar);
        if explained.explanations.is_empty() {
            return Err(unknown(&sought, explained.similar.as_deref(), &found.unread));
        }
    }
    origin::add(config_file, &mut explained.explanations);
    evidence::add(&mut explained.explanations, &sought);
    match arguments.json {
        true => print(&(serde_json::to_string_pretty(&explained)? + "\n"))?,
        false => print(&show::render(&explained, arguments.all, Look::of_stdout()))?,
    }
    let is_missed = explained.explanations.iter().any(|explanation| explanation.reached == Some(false));
    Ok(if is_missed { FAILED } else { GOOD })
}

/// The daemon's explanation, or one from scratch if no daemon runs.
fn known(
    config_file: Option<&Path>,
    socket: &Path,
    subject: &str,
    sought: &Sought,
) -> Result<Explanations, Failure> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("subject", subject).finish();
    match block_on(ask(socket, &format!("/1.0/explain?{query}")))? {
        Ok(body) => understand(&body),
        Err(failure) if failure.exit == NO_DAEMON => {
            let scratch = Scratch::look(config_file, &format!("explain {}", text::visible(subject)))?;
            scratch.complain_about_servers();
            Ok(scratch.view(|material| report::explain(material, sought)))
        }
        Err(failure) => Err(failure),
    }
}

/// The text of explanations on a terminal of 80 columns, for tests.
pub fn transcript(explained: &Explanations, in_full: bool) -> String {
    let look = Look { colour: false, width: Some(80), height: None, symbols: true };
    show::render(explained, in_full, look)
}

fn unknown(sought: &Sought, similar: Option<&str>, unread: &[String]) -> Failure {
    let failure = match sought {
        Sought::Name(name) => Failure::new(format!("no guest is called {}", text::visible(name))),
        Sought::Mac(mac) => Failure::new(format!("no NIC and no link of this host has the MAC {mac}")),
        Sought::Address(address) => Failure::new(format!("nothing is known of {address}")),
    };
    let failure = Failure { causes: unread.to_vec(), ..failure };
    match (similar, sought) {
        (Some(near), _) => failure.hint(format!("did you mean {near}?")),
        (None, Sought::Name(_)) => failure.hint("status shows all guests with macvlan NICs"),
        (None, _) => failure,
    }
}
