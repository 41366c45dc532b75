//! The kernel: what it says exists, kept current by its events, and the writes that change it.
//!
//! [`Kernel`] is all that the rest of the program sees; no netlink type leaves this module.
//!
//! | room | what |
//! | --- | --- |
//! | `socket` | messages in a buffer, sockets that ask and sockets that hear |
//! | `object` | one kind of object a file: how messages show it, how it is listed and written |
//! | `filter` | the filters of the shims: their rules, and `nft`, which reads and writes them |
//! | `view` | the snapshot: how events and readings change it, what is to be read again, and when |
//! | `apply` | an operation of a plan as orders to the kernel, and why it failed |
//!
//! Imports go one way: `apply → view → filter → object → socket`. What leaves this room is in `error`.
//!
//! Kernels differ in what they tell (`packaging/docs/limits.md`, "Which systems"). An event that only a newer one sends
//! makes us faster; what an older one does not tell is found by a resync. FACTS.md has what the code relies on.
//!
//! A dump that fails changes nothing of what is known: its slice is read again soon, and [`Kernel::problems`] says so
//! until then. But filters that could not be read cannot be written either: until they are, the snapshot has those seen
//! last, and calls them not usable.

mod apply;
mod error;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod object;
mod processor_time;
mod socket;
mod view;

pub use error::{KernelError, OpError};
pub use processor_time::processor_time;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::model::inventory::Home;
use crate::model::neighbours::NeighbourTable;
use crate::model::snapshot::Netns;
use crate::model::{Changes, NetnsId, Op, Snapshot};
use apply::Writer;
use object::{link, netns};
use socket::channel::Channel;
use socket::error::RequestError;
use socket::monitor::{Heard, Monitor};
use socket::request::{BUFFER, LARGEST, Requests};
use view::slice::Slice;
use view::state::State;

/// How often `drain` looks for more before it lets its caller act on what it has …
const ROUNDS: usize = 8;

/// … and for how long: somebody waits for his route.
const LOOK: Duration = Duration::from_millis(10);

/// How long a resync of guests' namespaces may go on before its caller gets a turn. Anything that an event
/// asks for is read first, and at once.
const TURN: Duration = Duration::from_millis(2);

/// So many datagrams are taken in before the slices that they touch are read.
const DATAGRAMS: usize = 1024;

/// The kernel of the network namespace that the calling thread is in: the host's.
pub struct Kernel {
    requests: Requests,
    everywhere: Monitor,
    here: Monitor,
    /// What happens to nftables; none where the kernel has none.
    filters: Option<Monitor>,
    state: State,
    writer: Writer,
    /// The namespaces whose changes had filters written, which are to be read back.
    filter_causes: BTreeSet<NetnsId>,
    incoming: Vec<u8>,
}

impl Kernel {
    /// Opens the sockets, those that listen first, and reads everything.
    pub fn open() -> Result<Kernel, KernelError> {
        let everywhere = Monitor::open(Channel::Everywhere).map_err(deaf)?;
        let here = Monitor::open(Channel::Here).map_err(deaf)?;
        let filters = hear_filters();
        let mut requests = Requests::open().map_err(|error| KernelError {
            message: format!("no netlink socket for requests: {error}"),
            hint: "Linux 5.0 or later is needed".to_owned(),
        })?;
        let own_id = netns::own(&mut requests).map_err(powerless)?;
        // Reading itself as if it were a guest's namespace shows whether guests' can be read.
        link::of_guest(&mut requests, own_id).map_err(powerless)?;
        let state = State::new(own_id, Instant::now());
        let mut kernel = Kernel {
            requests,
            everywhere,
            here,
            filters,
            state,
            writer: Writer::default(),
            filter_causes: BTreeSet::new(),
            incoming: vec![0; BUFFER],
        };
        kernel.state.stale.add_everything();
        while kernel.take_in_and_read() {}
        // Without its filters we can do, and without the sizes of its tables; they are tried again.
        let needed = |slice: &Slice| !matches!(slice, Slice::Filter | Slice::Tables);
        let unread = kernel.state.stale.unread().problems_of_host().find(|(slice, _)| needed(slice));
        match unread.map(|(_, why)| why.clone()) {
            // Not for want of privileges, or there would have been no answer before.
            Some(message) => Err(KernelError {
                message,
                hint: "try again; if it stays so, look at these objects with ip (iproute2): which of them the kernel \
                       cannot list, or what keeps changing them"
                    .to_owned(),
            }),
            None => {
                kernel.state.changes = Changes::default();
                Ok(kernel)
            }
        }
    }

    /// What is known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.state.snapshot
    }

    /// How full the neighbour tables are, as of the last reading of the host.
    pub fn neighbour_tables(&self) -> &[NeighbourTable] {
        &self.state.tables
    }

    /// What could not be read, and why. What was known of it before still stands in the snapshot.
    pub fn problems(&self) -> Vec<String> {
        self.state.stale.unread().problems().cloned().collect()
    }

    /// What could not be read of the host itself, and why.
    pub fn problems_of_host(&self) -> Vec<String> {
        self.state.stale.unread().problems_of_host().map(|(_, why)| why.clone()).collect()
    }

    /// What is left out of the snapshot because there is too much of it, or because it cannot be read: of which
    /// namespace, and a sentence for each.
    pub fn shortfalls(&self) -> impl Iterator<Item = (Netns, String)> {
        let all = self.state.shortfalls.iter();
        all.flat_map(|(netns, shortfall)| {
            shortfall.sentences().into_iter().map(|sentence| (*netns, sentence))
        })
    }

    /// Has everything read anew by the next [`Kernel::drain`]s: the host at once, the namespaces of guests bit by
    /// bit. What the kernel lacked may be there by now.
    pub fn resync(&mut self) {
        self.state.filters.doubt();
        self.state.stale.add_everything();
    }

    /// What these namespaces of guests have changed took so long to decide and to write. Who takes too much of our time
    /// is looked at less often for a while.
    pub fn charge(&mut self, namespaces: &BTreeSet<NetnsId>, time: Duration) {
        let share = time / u32::try_from(namespaces.len()).unwrap_or(u32::MAX).max(1);
        namespaces.iter().for_each(|id| self.state.stale.spent(*id, share));
        // What was written to a filter is read back, by a program that takes longer than all else.
        if self.state.stale.has(Slice::Filter) {
            self.filter_causes.extend(namespaces);
        }
    }

    /// Has the objects of the host read anew by the next [`Kernel::drain`], for some of their changes send no event: nor
    /// does it that `nft` was installed, or nf_tables loaded.
    pub fn resync_host(&mut self) {
        self.state.stale.add_host();
        // An event that was larger than any before may have been the last of its kind.
        self.incoming.truncate(BUFFER);
        self.incoming.shrink_to_fit();
        if !self.state.snapshot.filter.usable {
            self.filters = self.filters.take().or_else(hear_filters);
            self.state.stale.add(Slice::Filter);
        }
    }

    /// From now on the snapshot has the namespaces of these homes.
    pub fn locate(&mut self, homes: BTreeSet<Home>) {
        if homes != self.state.wanted_homes {
            self.state.wanted_homes = homes;
            self.state.stale.add(Slice::Homes);
        }
    }

    /// Waits until [`Kernel::drain`] has something to do. Cancel safe. Needs a tokio runtime with I/O and
    /// time enabled.
    pub async fn changed(&mut self) -> Result<(), KernelError> {
        if self.state.stale.pending() {
            // A long sweep goes in turns; the others shall have theirs.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let due = self.state.stale.due();
        let deferred = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let filters = async {
            match &mut self.filters {
                Some(filters) => filters.ready().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.everywhere.ready() => ready.map_err(deaf),
            ready = self.here.ready() => ready.map_err(deaf),
            ready = filters => ready.map_err(deaf),
            () = deferred => Ok(()),
        }
    }

    /// Does one write. What it changed is in the snapshot after the next [`Kernel::drain`].
    pub fn apply(&mut self, op: &Op) -> Result<(), OpError> {
        self.writer.apply(&mut self.requests, &mut self.state, op)
    }

    /// Takes in all events that are queued and reads the slices that they touch, until nothing is queued.
    /// Where that has no end, and where a resync takes long, it stops in between, and [`Kernel::changed`]
    /// is ready at once. Does not wait.
    pub fn drain(&mut self) -> Changes {
        self.writer.forget_what_was_made();
        self.take_in_and_read();
        std::mem::take(&mut self.state.changes)
    }

    /// True if something remains to be read at once.
    fn take_in_and_read(&mut self) -> bool {
        let start = Instant::now();
        self.state.stale.tick(start);
        self.state.stale.wake();
        for round in 0..ROUNDS {
            if round > 0 && start.elapsed() >= LOOK {
                break;
            }
            let empty = self.take_in();
            self.state.stale.tick(Instant::now());
            if empty {
                self.state.stale.caught_up();
                if !self.state.stale.pending() {
                    return false;
                }
            }
            while let Some(slice) = self.state.stale.take() {
                self.read(slice);
            }
            // At least one: taking in events may have used up the turn, now and in every turn to come.
            while let Some(slice) = self.state.stale.take_sweep() {
                self.read(slice);
                if start.elapsed() >= TURN {
                    break;
                }
            }
        }
        self.state.stale.pending()
    }

    /// True if nothing is queued any more.
    fn take_in(&mut self) -> bool {
        let Kernel { everywhere, here, filters, state, incoming, .. } = self;
        let mut empty = true;
        for monitor in [Some(everywhere), Some(here), filters.as_mut()].into_iter().flatten() {
            let channel = monitor.channel();
            empty &= (0..DATAGRAMS).any(|_| {
                let missed = match monitor.hear(incoming) {
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
                    tracing::warn!("{what}; reading anew what they tell of");
                }
                false
            });
        }
        empty
    }

    fn read(&mut self, slice: Slice) {
        let start = processor_time();
        let result = self.state.read(&mut self.requests, slice);
        if let Some(id) = slice.namespace() {
            self.state.stale.spent(id, processor_time().saturating_sub(start));
        }
        if slice == Slice::Filter {
            let causes = std::mem::take(&mut self.filter_causes);
            self.charge(&causes, processor_time().saturating_sub(start));
        }
        self.state.stale.tick(Instant::now());
        match result {
            Ok(()) => self.state.stale.succeeded(slice),
            Err(error) => {
                let why = format!("{slice} could not be read: {error}");
                if self.state.stale.failed(slice, &why) {
                    tracing::warn!("{why}");
                }
            }
        }
    }
}

/// Hears what happens to nftables, if the kernel has it.
fn hear_filters() -> Option<Monitor> {
    Monitor::open(Channel::Filters).ok()
}

fn deaf(error: std::io::Error) -> KernelError {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "run it as root, or with CAP_NET_BROADCAST and CAP_NET_ADMIN in the host's user namespace"
        }
        _ => "Linux 5.0 or later is needed",
    };
    KernelError {
        message: format!("the events of guests' network namespaces cannot be heard: {error}"),
        hint: hint.to_owned(),
    }
}

fn powerless(error: RequestError) -> KernelError {
    let hint = match error.errno() {
        Some(Errno::EPERM | Errno::EACCES) => {
            "run it as root, or with CAP_NET_ADMIN in the host's user namespace"
        }
        Some(_) => "Linux 5.0 or later is needed",
        None => "try again",
    };
    KernelError {
        message: format!("the network namespaces of guests cannot be read: {error}"),
        hint: hint.to_owned(),
    }
}
