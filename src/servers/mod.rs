//! The servers and their guests. [`follow`] turns one server's REST API and event stream into whole
//! [`Server`](crate::model::inventory::Server) values. No JSON leaves this room, and nothing of the kernel
//! enters it.
//!
//! | module | contents |
//! | --- | --- |
//! | `target` | the places of servers on this host |
//! | `follow` | one session after the other, for ever |
//! | `session` | one connection, from the opening of the event stream to its loss |
//! | `known` | everything that is known of a server, over all sessions |
//! | `published` | the newest value for all listeners, and the log of its changes |
//! | `questions` | the questions of the rest of the program to a server, and the numbers that its follower counts |
//! | `timetable` | when to read again: pure, the time is passed in |
//! | `patience` | the times that we wait, and the limits to answers |
//! | `socket_watch` | notices that a server is coming |
//! | `http` | one request, one connection |
//! | `error` | the reason why a server could not be read, in a sentence |
//! | `lxd` | LXD and Incus: their API, and whether they run |
//! | [`fuzzing`] | the readers without a server, for fuzzing |

mod error;
mod follow;
mod http;
mod known;
mod lxd;
mod patience;
mod published;
mod questions;
mod session;
mod socket_watch;
mod target;
mod timetable;

pub use follow::{Follower, follow, instances, origin, read};
#[doc(hidden)]
pub use lxd::fuzzing;
pub use lxd::instances::{AnyInstance, AnyNic};
pub use lxd::origin::NicOrigin;
pub use lxd::running::HostPaths;
pub use patience::{Patience, jittered};
pub use published::Newest;
pub use questions::{GuestName, Questions};
pub use target::{Target, targets};
