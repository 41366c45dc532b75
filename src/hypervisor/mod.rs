//! What LXD and Incus say exists. [`follow`] turns one server's REST API and event stream into whole
//! [`Server`](crate::model::inventory::Server) values. No JSON leaves this module, and nothing of the kernel enters
//! it.
//!
//! | module | what |
//! | --- | --- |
//! | `target` | where servers may be on this host |
//! | `surroundings` | whether a server runs, so that connecting does not start a stopped one |
//! | `lookout` | notices that a server is coming |
//! | `limits` | how long we wait for what, and how much we take |
//! | `http` | one request, one connection |
//! | `api` | the part of the servers' JSON that we read |
//! | `guest` | an instance's JSON → a guest |
//! | `discover` | one complete reading of a server |
//! | `inits` | the first processes of guests that they are asked for |
//! | `events` | the event stream, and what an event is worth |
//! | `asks` | what the rest of the program asks of a server |
//! | `agenda` | when to read again: pure, the time is passed in |
//! | `session` | one connection, from the opening of the event stream to its loss |
//! | `follow` | one session after the other, for ever |
//! | `feed` | the newest value for who listens, and the log |
//! | `trouble` | why a server could not be read, in a sentence |
//! | [`recorded`] | what a server said, read without the server |
//!
//! Three properties of the servers shape all of this. A connection that says nothing blocks the whole server (it
//! peeks at the first eight bytes inside `accept`), so each connection sends its request at once and none is kept.
//! Events are hints that may be lost, late or doubled, so they only make us read again. And connecting to a socket
//! of systemd starts a stopped server, so we look for the process first.

mod agenda;
mod api;
mod asks;
mod discover;
mod events;
mod feed;
mod follow;
mod guest;
mod http;
mod inits;
mod limits;
mod listing;
mod lookout;
pub mod recorded;
mod session;
mod surroundings;
mod target;
mod trouble;

pub use asks::{Asks, GuestName};
pub use follow::{Follower, follow, read};
pub use limits::{Limits, jittered};
pub use surroundings::Surroundings;
pub use target::{Target, targets};
