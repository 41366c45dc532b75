//! The place where guests' packets come in, and what is dropped there.

use std::net::IpAddr;

use super::packet::{ANY_PORT, Content};
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

impl Blocked {
    /// Whether it is one of the packets without which the guest cannot answer `explain`: a question for the host's
    /// MAC, or a ping.
    pub fn is_question_or_echo(&self) -> bool {
        matches!(self.content, Content::ArpRequest | Content::Solicitation | Content::Echo)
    }
}

/// The places where something is dropped, each once.
pub fn places(blocked: &[Blocked]) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for place in blocked.iter().filter_map(|one| one.fate.stop()).map(ToString::to_string) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// What is dropped. Ports that no rule names are all alike.
pub fn list(blocked: &[Blocked]) -> String {
    let mut words: Vec<String> = Vec::new();
    for one in blocked {
        let word = match one.content {
            Content::Tcp(ANY_PORT) => "TCP".to_owned(),
            Content::Udp(ANY_PORT) => "UDP".to_owned(),
            content if one.is_answer => format!("answers to {content}"),
            content => content.to_string(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", ")
}
