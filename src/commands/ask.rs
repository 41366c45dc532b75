//! The question to the daemon, and the reasons why there is no answer.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use super::{Failure, NO_DAEMON};
use crate::model::names;

/// How long the daemon may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may take in all.
const ANSWER: Duration = Duration::from_secs(5);

/// The meaning of the daemon's answer.
pub(super) fn understand<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| {
        let version = serde_json::from_str::<serde_json::Value>(body).ok();
        let version = version.and_then(|body| Some(format!(" (version {})", body["version"].as_str()?)));
        let version = version.unwrap_or_default();
        Failure::new(format!("the daemon{version} gives an answer that this version does not understand"))
            .because(&error)
            .hint(format!(
                "this is version {}; restart the daemon, \
                 which leaves every route in place, or use --json",
                env!("CARGO_PKG_VERSION")
            ))
    })
}

/// The daemon's answer to a path, unchanged.
pub(super) async fn ask(socket: &Path, path: &str) -> Result<String, Failure> {
    let cannot = |error| unreachable(socket, &error);
    in_time(socket, async { open(socket, path).await?.text().await.map_err(cannot) }).await
}

/// The beginning of the daemon's answer to a path. The rest may take as long as it likes.
pub(super) async fn open(socket: &Path, path: &str) -> Result<reqwest::Response, Failure> {
    let cannot = |error| unreachable(socket, &error);
    let client = reqwest::Client::builder().unix_socket(socket).connect_timeout(CONNECT).build();
    let question = client.map_err(cannot)?.get(format!("http://daemon{path}"));
    let answer = in_time(socket, async { question.send().await.map_err(cannot) }).await?;
    let code = answer.status();
    if code.is_success() {
        return Ok(answer);
    }
    let body = answer.text().await.map_err(cannot)?;
    let error = serde_json::from_str::<serde_json::Value>(&body).ok();
    let error = error.and_then(|body| Some(body["error"].as_str()?.to_owned()));
    let failure = Failure::new(format!("the daemon at {} refuses to answer", socket.display()));
    let failure = Failure { causes: vec![error.unwrap_or_else(|| code.to_string())], ..failure };
    match code {
        StatusCode::NOT_FOUND => {
            Err(failure.hint("it is of another version; restart it, which leaves every route in place"))
        }
        _ => Err(failure),
    }
}

async fn in_time<T>(socket: &Path, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late(socket)))
}

fn late(socket: &Path) -> Failure {
    Failure::new(format!("the daemon at {} does not answer in time", socket.display()))
        .hint("its log may say why: journalctl -u macvlan-shimd")
}

fn unreachable(socket: &Path, error: &reqwest::Error) -> Failure {
    let path = socket.display();
    match io_kind(error) {
        Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let failure = Failure::new(format!("no daemon answers at {path}")).exit(NO_DAEMON);
            match socket == Path::new(names::CONTROL_SOCKET) {
                true => failure.hint(
                    "start it: systemctl start macvlan-shimd; why it does not run: journalctl -u macvlan-shimd",
                ),
                false => failure.hint("is this the path that its --socket names?"),
            }
        }
        Some(io::ErrorKind::PermissionDenied) => {
            Failure::new(format!("you may not ask the daemon at {path}")).hint(who_may(socket))
        }
        _ if error.is_timeout() => late(socket),
        _ => Failure::new(format!("cannot ask the daemon at {path}")).because(error),
    }
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

/// The socket's mode lets its group in.
fn who_may(socket: &Path) -> String {
    let gid = std::fs::metadata(socket).map(|meta| nix::unistd::Gid::from_raw(meta.gid())).ok();
    let group = gid.filter(|gid| gid.as_raw() != 0).and_then(|gid| nix::unistd::Group::from_gid(gid).ok()?);
    match group {
        Some(group) => format!("root may, and members of the group {}", group.name),
        None => "only root may".to_owned(),
    }
}
