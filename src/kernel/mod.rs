//! The kernel: the objects that exist according to it, kept current by its events, and the writes that change
//! them.
//!
//! [`Kernel`] is all that the rest of the program sees. No netlink type leaves this module.
//!
//! | room | contents |
//! | --- | --- |
//! | `socket` | messages in a buffer, sockets that ask and sockets that hear |
//! | `object` | a file for each kind of object: how messages show it, how it is listed and written |
//! | `filter` | the filters of the shims: their rules, and `nft`, which reads and writes them |
//! | `view` | the snapshot: how events and readings change it, which slices are to be read again, and when |
//! | `apply` | an operation of a plan as requests to the kernel, and the reason if it failed |
//!
//! Imports go one way: `apply → view → filter → object → socket`. The errors that leave this room are in
//! `error`.
//!
//! Kernels differ in their events (`packaging/docs/limits.md`, "Which systems"). An event that only newer
//! kernels send makes us faster. On older ones a resync finds the change. FACTS.md has the facts that the
//! code relies on.
//!
//! A dump that fails changes nothing in the snapshot. Its slice is read again soon, and [`Kernel::problems`]
//! says so until then. But filters that could not be read cannot be written either. Until they are read, the
//! snapshot keeps the last known ones and marks them as not usable.

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
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::dropped::DroppedPackets;
use crate::model::found_way::FoundWay;
use crate::model::inventory::Home;
use crate::model::neighbours::NeighbourTable;
use crate::model::plan::Progress;
use crate::model::snapshot::Netns;
use crate::model::tally::NetlinkTally;
use crate::model::{Changes, NetnsId, Op, Snapshot};
use apply::Writer;
use error::{deaf, powerless, speechless};
use filter::NftError;
use object::{link, netns, way};
use socket::error::RequestError;
use socket::request::Requests;
use view::hearing::Hearing;
use view::slice::Slice;
use view::state::State;

/// Maximum number of times that `drain` looks for more events before its caller acts on those that it has …
const ROUNDS: usize = 8;
/// … and the maximum time, because a guest waits for its route.
const LOOK: Duration = Duration::from_millis(10);

/// How long a resync of guests' namespaces may go on before its caller gets a turn. Slices that an event
/// marks as stale are read first, and at once.
const TURN: Duration = Duration::from_millis(2);

/// How long a caller waits for `nft`, which may have to run several times.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel of the network namespace that the calling thread is in: the host's.
pub struct Kernel {
    requests: Requests,
    hearing: Hearing,
    state: State,
    writer: Writer,
}

impl Kernel {
    /// Opens the sockets, those that listen first, and reads everything.
    pub fn open() -> Result<Kernel, KernelError> {
        let hearing = Hearing::open().map_err(deaf)?;
        let mut requests = Requests::open().map_err(speechless)?;
        let powerless = |error: RequestError| powerless(error.errno(), &error);
        let own_id = netns::own(&mut requests).map_err(powerless)?;
        // If the host's own namespace can be read like a guest's, so can those of guests.
        link::of_guest(&mut requests, own_id).map_err(powerless)?;
        let state = State::new(own_id, Instant::now());
        let mut kernel = Kernel { requests, hearing, state, writer: Writer::default() };
        kernel.state.stale.add_everything();
        kernel.settle();
        // Filters and the sizes of tables are not needed at the start. They are tried again.
        let needed = |slice: &Slice| !matches!(slice, Slice::Filter | Slice::Tables);
        let unread = kernel.state.stale.unread().problems_of_host().find(|(slice, _)| needed(slice));
        match unread.map(|(_, why)| why.clone()) {
            // Privileges are not the reason, or there would have been no answer before.
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

    /// The kernel's objects, as far as they are known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.state.snapshot
    }

    /// How full the neighbour tables are, as of the last reading of the host.
    pub fn neighbour_tables(&self) -> &[NeighbourTable] {
        &self.state.tables
    }

    /// The packets that the filters of shims have dropped, as of the last reading of the filters.
    pub fn dropped_packets(&self) -> &[DroppedPackets] {
        &self.state.dropped
    }

    /// The numbers of the events.
    pub fn tally(&self) -> NetlinkTally {
        self.hearing.tally()
    }

    /// The slices that could not be read, with the errors. The snapshot keeps their former state.
    pub fn problems(&self) -> Vec<String> {
        self.state.stale.unread().problems().cloned().collect()
    }

    /// The slices of the host itself that could not be read, with the errors.
    pub fn problems_of_host(&self) -> Vec<String> {
        self.state.stale.unread().problems_of_host().map(|(_, why)| why.clone()).collect()
    }

    /// The objects that the snapshot lacks because there are too many, or because they cannot be read: their
    /// namespace, and a sentence for each.
    pub fn shortfalls(&self) -> impl Iterator<Item = (Netns, String)> {
        let all = self.state.shortfalls.iter();
        all.flat_map(|(netns, shortfall)| {
            shortfall.sentences().into_iter().map(|sentence| (*netns, sentence))
        })
    }

    /// The next [`Kernel::drain`]s read everything again: the host at once, the namespaces of guests bit by
    /// bit. Missing abilities of nftables are checked again.
    pub fn resync(&mut self) {
        self.state.filters.doubt();
        self.state.stale.add_everything();
    }

    /// Charges these namespaces for the time that their changes have cost in deciding and writing. A guest
    /// that takes too much of our time is looked at less often for a while.
    pub fn charge(&mut self, namespaces: &BTreeSet<NetnsId>, time: Duration) {
        let share = time / u32::try_from(namespaces.len()).unwrap_or(u32::MAX).max(1);
        namespaces.iter().for_each(|id| self.state.stale.spent(*id, share));
    }

    /// The next [`Kernel::drain`] reads the host again, because some changes send no event. For example:
    /// `nft` was installed, or nf_tables was loaded.
    pub fn resync_host(&mut self) {
        self.state.stale.add_host();
        self.hearing.shrink();
        if !self.state.snapshot.filter.usable {
            self.hearing.look_for_filters();
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
            return Ok(());
        }
        let due = self.state.stale.due();
        let deferred = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.hearing.ready() => ready.map_err(deaf),
            () = self.state.filters.ready() => Ok(()),
            () = deferred => Ok(()),
        }
    }

    /// Does one write, or begins it. Its change is in the snapshot after the next [`Kernel::drain`].
    pub fn begin(&mut self, op: &Op) -> Result<Progress, OpError> {
        self.writer.begin(&mut self.requests, &mut self.state, op)
    }

    /// The writes that were begun and have ended, each with its outcome.
    pub fn ended(&mut self) -> Vec<(Op, Result<(), OpError>)> {
        let ended = self.state.filters.ended().into_iter();
        let explained = |(op, result): (Op, Result<(), _>)| {
            let result = result.map_err(|error| apply::explain(&op, error));
            (op, result)
        };
        ended.map(explained).collect()
    }

    /// Does one write and waits for its end. For callers that have nothing else to do meanwhile.
    pub fn apply(&mut self, op: &Op) -> Result<(), OpError> {
        if self.begin(op)? == Progress::Done {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            self.state.take_in_filters(PATIENCE);
            if let Some(result) = self.state.filters.end_of(op) {
                return result.map_err(|error| apply::explain(op, error));
            }
            if start.elapsed() > PATIENCE {
                let error = NftError::Failed("nft has not ended yet".to_owned());
                return Err(apply::explain(op, error));
            }
        }
    }

    /// Does the same as [`Kernel::drain`], and waits for filters that are being read or written. For callers
    /// that have nothing else to do meanwhile.
    pub fn settle(&mut self) -> Changes {
        let start = Instant::now();
        loop {
            let more = self.take_in_and_read();
            let waits = self.state.filters.is_under_way() && start.elapsed() < PATIENCE;
            if waits {
                self.state.take_in_filters(PATIENCE);
            }
            if !more && !waits {
                return self.drain();
            }
        }
    }

    /// Takes in all queued events and reads the slices that they make stale, until nothing is queued. If that
    /// does not end, or if a resync takes long, it stops in between, and [`Kernel::changed`] is ready at
    /// once. Does not wait.
    pub fn drain(&mut self) -> Changes {
        self.writer.forget_made_shims();
        self.take_in_and_read();
        std::mem::take(&mut self.state.changes)
    }

    /// Returns true if a slice remains to be read at once.
    fn take_in_and_read(&mut self) -> bool {
        let start = Instant::now();
        self.state.tick(start);
        self.state.stale.wake();
        for round in 0..ROUNDS {
            if round > 0 && start.elapsed() >= LOOK {
                break;
            }
            let empty = self.hearing.take_in(&mut self.state);
            self.state.tick(Instant::now());
            self.state.take_in_filters(Duration::ZERO);
            if empty {
                self.state.stale.caught_up();
                if !self.state.stale.pending() {
                    return false;
                }
            }
            while let Some(slice) = self.state.stale.take() {
                self.read(slice);
            }
            // At least one, because taking in events may use up every turn.
            while let Some(slice) = self.state.stale.take_sweep() {
                self.read(slice);
                if start.elapsed() >= TURN {
                    break;
                }
            }
        }
        self.state.stale.pending()
    }

    fn read(&mut self, slice: Slice) {
        let start = processor_time();
        let result = self.state.read(&mut self.requests, slice);
        if let Some(id) = slice.namespace() {
            self.state.stale.spent(id, processor_time().saturating_sub(start));
        }
        self.state.tick(Instant::now());
        match result {
            // This only asks for it. The result is in the answer.
            Ok(()) if slice == Slice::Filter => {}
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

/// The way that a packet of this host to an address takes now, whatever anybody has decided. Needs no
/// privileges.
pub fn way_to(address: IpAddr) -> Result<FoundWay, KernelError> {
    let mut requests = Requests::open().map_err(speechless)?;
    way::find(&mut requests, address).map_err(|error| KernelError {
        message: format!("the kernel does not tell its way to {address}: {error}"),
        hint: format!("ask it: ip route get {address}"),
    })
}
