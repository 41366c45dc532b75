//! For programs that try our readers with anything (`tests/fuzz`).

use std::time::Instant;

use super::socket::channel::Channel;
use super::view::state::State;
use crate::model::{NetnsId, Snapshot};

/// The snapshot that results from these events, starting with an empty one and without a kernel. Each has the
/// netns id that it comes from (`None`: the host's), and those of nftables have the id -1. Also the number of
/// events that could not be read.
pub fn snapshot_of<'a>(events: impl IntoIterator<Item = (Option<NetnsId>, &'a [u8])>) -> (Snapshot, usize) {
    let mut state = State::new(NetnsId(0), Instant::now());
    let mut malformed = 0;
    for (netns, datagram) in events {
        let channel = if netns == Some(NetnsId(-1)) { Channel::Filters } else { Channel::Everywhere };
        malformed += usize::from(state.take_in(channel, netns, datagram).is_err());
    }
    (state.snapshot, malformed)
}
