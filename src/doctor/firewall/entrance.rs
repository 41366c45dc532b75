//! The place where guests' packets come in, and what is dropped there.

use std::net::IpAddr;

use super::packet::Content;
use super::walk::Fate;

/// The place where guests' packets come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Entrance {
    /// The shim.
    pub shim: String,
    /// Its parent, where the same packet would come in from the LAN.
    pub parent: String,
    /// A guest's address.
    pub guest: IpAddr,
    /// The host's address that it sends to.
    pub host: IpAddr,
}

/// A kind of packet that the firewall treats worse if it comes from a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocked {
    /// What the packet carries.
    pub content: Content,
    /// Whether it answers the host.
    pub is_answer: bool,
    /// Its fate when it comes in through the shim, or leaves through it.
    pub fate: Fate,
    /// The fate of the same packet from the LAN, or to the LAN.
    pub from_lan: Fate,
}
