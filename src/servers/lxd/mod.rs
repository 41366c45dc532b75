//! LXD and Incus, whose APIs are alike as far as we read them.
//!
//! | module | contents |
//! | --- | --- |
//! | `envelope` | the envelope around each answer |
//! | `elements` | cuts the elements of a list out of an answer |
//! | `api` | the part of their JSON that we read |
//! | `listing` | the list of instances, within bounds |
//! | `guest` | an instance's JSON → a guest |
//! | `read` | reads a server once, completely |
//! | `instances` | all instances, whatever their NICs |
//! | `origin` | where a NIC of an instance comes from |
//! | `reading` | the result of such a reading |
//! | `events` | the event stream, and the meaning of an event for us |
//! | `first_process` | the first processes of the guests that we are asked for |
//! | `running` | whether a server runs, so that connecting does not start a stopped one |
//! | `fuzzing` | the readers without a server, for fuzzing |
//!
//! Three properties of these servers shape all of this. A connection that sends nothing blocks the whole
//! server (it peeks at the first eight bytes inside `accept`), so each connection sends its request at once
//! and none is kept. Events are hints that may be lost, late or doubled, so they only make us read again. And
//! connecting to a socket that systemd holds starts a stopped server, so we look for the process first.

mod api;
mod elements;
mod envelope;
pub(super) mod events;
pub(super) mod first_process;
pub mod fuzzing;
mod guest;
pub(super) mod instances;
mod listing;
pub(super) mod origin;
pub(super) mod read;
pub(super) mod reading;
pub(super) mod running;
