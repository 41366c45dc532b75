//! The kernel's state as we know it, and how it is kept current.
//!
//! | file | what |
//! | --- | --- |
//! | `state` | the snapshot, and what changes in it |
//! | `event` | what an event means for it |
//! | `slice` | the parts that are read on their own |
//! | `stale`, `pace`, `unread` | which slices are to be read again, how fast a noisy guest is followed, and retries |
//! | `read`, `guest` | how a slice is read: of the host, and of a guest |
//! | `roll`, `shortfall` | which links there are, even if a list of them lacks some; what is left out all the same |

mod event;
mod guest;
mod pace;
mod read;
mod roll;
mod shortfall;
pub(in crate::kernel) mod slice;
mod stale;
pub(in crate::kernel) mod state;
mod unread;
