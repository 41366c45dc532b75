//! Netlink: how messages lie in a buffer, sockets that ask, and sockets that hear.
//!
//! What the messages are about is not known here.

pub(in crate::kernel) mod channel;
pub(in crate::kernel) mod error;
pub(in crate::kernel) mod monitor;
pub(in crate::kernel) mod request;
pub(in crate::kernel) mod wire;
