//! Readers of others' words are tried with anything. They may refuse the words, but must not panic, hang, or
//! take more memory than the words justify. Each [`Target`] has a corpus, `corpus/<name>/`. `tests/replay.rs`
//! reads it again, with some random changes. `run.sh` (`make fuzz`) has libFuzzer look for more, led by the
//! code that is reached.

mod control;

use std::path::Path;
use std::time::Instant;

use macvlan_shim::config::Config;
use macvlan_shim::kernel;
use macvlan_shim::model::NetnsId;
use macvlan_shim::model::inventory::{Inventory, Server, ServerId, ServerKind, ServerState};
use macvlan_shim::reconcile::{Inputs, Memory, desire, diff};
use macvlan_shim::servers::fuzzing;

/// One reader.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Has it read something. Panics if it breaks a rule.
    pub read: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "events", read: events },
    Target { name: "instances", read: instances },
    Target { name: "netlink", read: netlink },
    Target { name: "config", read: config },
    Target { name: "control", read: control::requests },
];

/// An event of a server.
fn events(event: &[u8]) {
    fuzzing::is_news(event);
}

/// A server's list of instances.
fn instances(answer: &[u8]) {
    let Ok(guests) = fuzzing::guests(answer) else { return };
    assert!(guests.iter().all(|guest| !guest.name.is_empty() && !guest.nics.told().is_empty()));
}

/// Datagrams of the kernel: of each the netns id, two bytes for its length, and its bytes. A decision is made
/// from their result.
fn netlink(mut rest: &[u8]) {
    let mut datagrams = Vec::new();
    while let [netns, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let netns = Some(NetnsId(netns.cast_signed().into())).filter(|id| *id != NetnsId(0));
        datagrams.push((netns, &more[..length]));
        rest = &more[length..];
    }
    let (snapshot, _) = kernel::fuzzing::snapshot_of(datagrams);
    let (config, inventory) = (Config::default(), served());
    let inputs = Inputs { config: &config, inventory: &inventory, snapshot: &snapshot, now: Instant::now() };
    let (desired, _) = desire(&inputs, &Memory::default());
    diff(&desired, &snapshot);
}

/// A server whose guests' NICs are on the links that the corpus has.
fn served() -> Inventory {
    let answer = include_bytes!("../corpus/instances/lxd-5.0.2.json");
    let server = Server {
        place: "/var/lib/lxd/unix.socket".into(),
        kind: Some(ServerKind::Lxd),
        version: None,
        name: None,
        state: ServerState::Connected,
        message: None,
        guests: fuzzing::guests(answer).ok(),
        peers: std::collections::BTreeMap::new(),
    };
    Inventory { servers: [(ServerId("lxd".into()), server.into())].into() }
}

/// A configuration file. If it is accepted, the form in which it is shown means the same.
fn config(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let file = Path::new("config.toml");
    match Config::parse(text, file) {
        Ok(config) => {
            let shown = config.to_toml();
            let again = Config::parse(&shown, file);
            assert!(again.as_ref().is_ok_and(|again| *again == config), "{shown}\nis read as {again:?}");
        }
        Err(error) => drop(error.to_string()),
    }
}
