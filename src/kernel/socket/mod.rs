//! Netlink: how messages lie in a buffer, sockets that ask, and sockets that hear.
//!
//! Nothing here knows what the messages are about.

pub(in crate::kernel) mod channel;
pub(in crate::kernel) mod error;
pub(in crate::kernel) mod monitor;
pub(in crate::kernel) mod raw;
pub(in crate::kernel) mod request;
pub(in crate::kernel) mod wire;
