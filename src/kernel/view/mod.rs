//! The kernel's state as we know it, and how it is kept current.
//!
//! | file | contents |
//! | --- | --- |
//! | `state` | the snapshot, and its changes |
//! | `hearing` | the sockets that hear events, and how their datagrams are taken in |
//! | `event` | the meaning of an event for it |
//! | `filters`, `answer` | the commands to the thread that runs `nft`, and the meaning of its answers |
//! | `slice` | the parts that are read on their own |
//! | `stale`, `pace`, `unread` | the slices that are to be read again, the pace for a noisy guest, and retries |
//! | `read`, `guest` | how a slice is read: of the host, and of a guest |
//! | `roll`, `shortfall` | the existing links, even if a list of them lacks some; the objects that are left out all the same |

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
