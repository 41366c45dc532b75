//! The kernel's state as we know it, and how it is kept current.
//!
//! | file | what |
//! | --- | --- |
//! | `state` | the snapshot, and what changes in it |
//! | `hearing` | the sockets that hear events, and how their datagrams are taken in |
//! | `event` | what an event means for it |
//! | `filters`, `answer` | what the thread that runs `nft` was told to do, and what its answers mean |
//! | `slice` | the parts that are read on their own |
//! | `stale`, `pace`, `unread` | which slices are to be read again, how fast a noisy guest is followed, and retries |
//! | `read`, `guest` | how a slice is read: of the host, and of a guest |
//! | `roll`, `shortfall` | which links there are, even if a list of them lacks some; what is left out all the same |

mod answer;
mod event;
mod filters;
mod guest;
pub(in crate::kernel) mod hearing;
mod pace;
mod read;
mod roll;
mod shortfall;
pub(in crate::kernel) mod slice;
mod stale;
pub(in crate::kernel) mod state;
mod unread;
