//! The sockets that hear events, and how their datagrams are taken in.

use std::io::Error;

use super::slice::Slice;
use super::state::State;
use crate::kernel::socket::channel::Channel;
use crate::kernel::socket::monitor::{Heard, Monitor};
use crate::kernel::socket::request::{BUFFER, LARGEST};
use crate::model::tally::NetlinkTally;

/// Maximum number of datagrams that are taken in before the slices that they make stale are read.
const DATAGRAMS: usize = 1024;

/// The sockets that hear events.
pub(in crate::kernel) struct Hearing {
    everywhere: Monitor,
    here: Monitor,
    /// Events of nftables; none if the kernel has no nftables.
    filters: Option<Monitor>,
    incoming: Vec<u8>,
    /// Number of datagrams of events heard.
    events: u64,
}

impl Hearing {
    /// Opens the sockets.
    pub(in crate::kernel) fn open() -> Result<Hearing, Error> {
        Ok(Hearing {
            everywhere: Monitor::open(Channel::Everywhere)?,
            here: Monitor::open(Channel::Here)?,
            filters: Monitor::open(Channel::Filters).ok(),
            incoming: vec![0; BUFFER],
            events: 0,
        })
    }

    /// The numbers of all sockets together.
    pub(in crate::kernel) fn tally(&self) -> NetlinkTally {
        let monitors = [Some(&self.everywhere), Some(&self.here), self.filters.as_ref()];
        NetlinkTally {
            events: self.events,
            overruns: monitors.into_iter().flatten().map(Monitor::overruns).sum(),
        }
    }

    /// Gives memory back, because an unusually large event may have been the last of its kind.
    pub(in crate::kernel) fn shrink(&mut self) {
        self.incoming.truncate(BUFFER);
        self.incoming.shrink_to_fit();
    }

    /// The kernel may have nftables by now.
    pub(in crate::kernel) fn look_for_filters(&mut self) {
        self.filters = self.filters.take().or_else(|| Monitor::open(Channel::Filters).ok());
    }

    /// Waits until there is something to take in. Cancel safe.
    pub(in crate::kernel) async fn ready(&mut self) -> Result<(), Error> {
        let Hearing { everywhere, here, filters, .. } = self;
        let filters = async {
            match filters {
                Some(filters) => filters.ready().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = everywhere.ready() => ready,
            ready = here.ready() => ready,
            ready = filters => ready,
        }
    }

    /// Takes in events. Returns true if nothing is queued any more.
    pub(in crate::kernel) fn take_in(&mut self, state: &mut State) -> bool {
        let Hearing { everywhere, here, filters, incoming, events } = self;
        let mut empty = true;
        for monitor in [Some(everywhere), Some(here), filters.as_mut()].into_iter().flatten() {
            let channel = monitor.channel();
            empty &= (0..DATAGRAMS).any(|_| {
                let heard = monitor.hear(incoming);
                *events += u64::from(matches!(heard, Heard::Events { .. } | Heard::Oversized { .. }));
                let missed = match heard {
                    Heard::Nothing => return true,
                    Heard::Lost => Some("events of the kernel were lost"),
                    Heard::Oversized { length, netns } => {
                        incoming.resize(length.next_power_of_two().clamp(incoming.len(), LARGEST), 0);
                        (!state.unheard(netns)).then_some("an event of the kernel was larger than expected")
                    }
                    Heard::Events { length, netns } => {
                        let taken = state.take_in(channel, netns, &incoming[..length]);
                        let unread = taken.is_err() && !state.unheard(netns);
                        unread.then_some("an event of the kernel could not be read")
                    }
                };
                if let Some(what) = missed.filter(|_| state.stale.add_lost(Slice::told_by(channel))) {
                    tracing::warn!("{what}; the objects that they are about are read again");
                }
                false
            });
        }
        empty
    }
}
