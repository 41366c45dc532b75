//! The host's own firewall, as far as it decides about what guests send to the host through a shim. Pure: it
//! is given the words of `nft`, `iptables-save` and `ip6tables-save`.
//!
//! A rule set is read as one packet meets it. Each condition of a rule fits that packet, does not, or may
//! ([`fit`]): a condition that is not understood always *may*. So a verdict is never surer than what was read.
//!
//! Whether a firewall drops a packet says little by itself, because most are meant to drop some. The question
//! is whether it drops what comes in through the shim *and passes the same packet through the parent*, where
//! the LAN comes in. [`Firewall::blocked`] tells just that.
//!
//! | file | contents |
//! | --- | --- |
//! | [`packet`] | a packet, and where it passes |
//! | [`fit`] | yes, no or perhaps |
//! | [`chain`] | a chain of rules as one packet meets it, whatever program it came from |
//! | `expression`, `nft` | the JSON of `nft` → chains |
//! | `listing` | the rules of `nft` as people read them |
//! | `iptables` | the text of `iptables-save` → chains |
//! | `walk` | chains → the fate of the packet |
//! | [`entrance`] | where guests' packets come in, and what is dropped there |
//! | `cure` | the commands that let it in |
//!
//! Chains of the family netdev at a shim are the daemon's own matter (`filter-foreign`). Frames between guests
//! and a shim do not pass the chains of a bridge.

pub mod chain;
mod cure;
pub mod entrance;
mod expression;
pub mod fit;
mod iptables;
mod listing;
mod nft;
pub mod packet;
mod walk;

use std::collections::BTreeSet;

use serde_json::Value;

use self::chain::{Met, Stop};
use self::cure::Manager;
use self::entrance::{Blocked, Entrance};
use self::fit::Fit;
use self::listing::RuleTexts;
use self::packet::{ANY_PORT, Content, Packet, Path, Tracked};
pub use self::walk::Fate;
use crate::model::Family;

/// Maximum number of ports that are tried, of each protocol.
const PORTS: usize = 24;

/// The rule sets of the host.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    nft: Value,
    texts: RuleTexts,
    iptables: Vec<(Family, String)>,
    tcp_ports: BTreeSet<u16>,
    udp_ports: BTreeSet<u16>,
}

impl Firewall {
    /// Reads the rule sets: the output of `nft -j list ruleset` and of `nft -a list ruleset`, empty if there is
    /// none, and those of `iptables-save -c` and `ip6tables-save -c` of each kind that is installed.
    ///
    /// # Errors
    /// If the JSON is none.
    pub fn read(json: &str, listing: &str, iptables: Vec<(Family, String)>) -> Result<Firewall, String> {
        let nft = match json.trim() {
            "" => Value::Null,
            json => {
                serde_json::from_str(json).map_err(|error| format!("nft's JSON cannot be read: {error}"))?
            }
        };
        let (mut tcp_ports, mut udp_ports) = (BTreeSet::new(), BTreeSet::new());
        for (is_udp, port) in nft::ports(&nft).chain(iptables::ports(&iptables)) {
            if is_udp {
                udp_ports.insert(port)
            } else {
                tcp_ports.insert(port)
            };
        }
        Ok(Firewall { nft, texts: RuleTexts::read(listing), iptables, tcp_ports, udp_ports })
    }

    /// Whether there is no rule set at all.
    pub fn is_empty(&self) -> bool {
        let is_chain = |object: &Value| object.get("chain").is_some();
        let nft = self.nft["nftables"].as_array();
        nft.is_none_or(|objects| !objects.iter().any(is_chain)) && self.iptables.is_empty()
    }

    /// The chains as a packet meets them.
    fn chains(&self, packet: &Packet<'_>) -> Vec<Met> {
        // iptables-nft keeps its rules in nf_tables, so `nft` shows them too, with less of their meaning.
        let known = iptables::tables_of_nft(&self.iptables);
        let mut chains = nft::chains(&self.nft, &self.texts, packet, &known);
        chains.extend(iptables::chains(&self.iptables, packet));
        chains
    }

    /// The fate of a packet.
    pub fn fate(&self, packet: &Packet<'_>) -> Fate {
        walk::fate(&self.chains(packet), packet)
    }

    /// Whether the packet's source is changed when it leaves.
    pub fn translates(&self, packet: &Packet<'_>) -> Fit {
        walk::translates(&self.chains(packet), packet)
    }

    /// Everything that the firewall drops, or may drop, if a guest sends it to the host or the host to the
    /// guest, and passes if it comes from the LAN, or goes there. The gravest are first.
    pub fn blocked(&self, entrance: &Entrance) -> Vec<Blocked> {
        let of = |ports: &BTreeSet<u16>| -> Vec<u16> {
            std::iter::once(ANY_PORT).chain(ports.iter().copied()).take(PORTS).collect()
        };
        let tcp = of(&self.tcp_ports).into_iter().map(|port| (Content::Tcp(port), Tracked::New));
        let udp = of(&self.udp_ports).into_iter().map(|port| (Content::Udp(port), Tracked::New));
        let first = match Family::of(entrance.host) {
            Family::V4 => (Content::ArpRequest, Tracked::Untracked),
            Family::V6 => (Content::Solicitation, Tracked::Untracked),
        };
        let answer = (Content::Echo, Tracked::Established);
        let contents = [first, answer, (Content::Echo, Tracked::New)].into_iter().chain(tcp).chain(udp);
        let mut blocked: Vec<Blocked> = Vec::new();
        for (content, state) in contents {
            // The host asks for no guest over a shim.
            let is_question = matches!(content, Content::ArpRequest | Content::Solicitation);
            for path in [Path::In, Path::Out].into_iter().take(if is_question { 1 } else { 2 }) {
                blocked.extend(self.difference(entrance, content, state, path));
            }
        }
        blocked.sort_by_key(|one| std::cmp::Reverse(one.fate.rank()));
        blocked
    }

    /// What becomes of a packet, if it is worse for a guest than for the LAN.
    fn difference(
        &self,
        entrance: &Entrance,
        content: Content,
        state: Tracked,
        path: Path,
    ) -> Option<Blocked> {
        let (source, destination) = match path {
            Path::In => (entrance.guest, entrance.host),
            _ => (entrance.host, entrance.guest),
        };
        let destination = match content {
            Content::Solicitation => packet::asked_group(destination),
            _ => destination,
        };
        let packet = Packet {
            path,
            input: (path == Path::In).then_some(&*entrance.shim),
            output: (path == Path::Out).then_some(&*entrance.shim),
            source,
            destination,
            content,
            state,
            is_shim: true,
        };
        let of_lan = Packet {
            input: packet.input.map(|_| &*entrance.parent),
            output: packet.output.map(|_| &*entrance.parent),
            is_shim: false,
            ..packet
        };
        let (fate, from_lan) = (self.fate(&packet), self.fate(&of_lan));
        let is_answer = state == Tracked::Established;
        (fate.rank() > from_lan.rank()).then_some(Blocked { content, is_answer, fate, from_lan })
    }

    /// Whether the firewall drops pings and unknown connections from everybody, the LAN included.
    pub fn is_closed(&self, entrance: &Entrance) -> Option<Stop> {
        let packet = |content| Packet {
            path: Path::In,
            input: Some(&entrance.parent),
            output: None,
            source: entrance.guest,
            destination: entrance.host,
            content,
            state: Tracked::New,
            is_shim: false,
        };
        match (self.fate(&packet(Content::Echo)), self.fate(&packet(Content::Tcp(ANY_PORT)))) {
            (Fate::Dropped(stop), Fate::Dropped(_)) => Some(stop),
            _ => None,
        }
    }

    /// The commands that let in what is blocked.
    pub fn cure(&self, entrance: &Entrance, blocked: &[Blocked]) -> Vec<String> {
        cure::commands(entrance, blocked, &self.manager(entrance))
    }

    /// The program that keeps the rules.
    fn manager(&self, entrance: &Entrance) -> Manager {
        let is_ufw = |(_, save): &(Family, String)| save.contains("\n:ufw-") || save.contains("\n:ufw6-");
        match self.zone(entrance) {
            Some(zone) => Manager::Firewalld { zone },
            None if self.iptables.iter().any(is_ufw) => Manager::Ufw,
            None => Manager::None,
        }
    }

    /// The zone of firewalld that the parent is in, if firewalld decides about it.
    fn zone(&self, entrance: &Entrance) -> Option<String> {
        let Entrance { parent, guest, host, .. } = entrance;
        let packet = Packet {
            path: Path::In,
            input: Some(parent),
            output: None,
            source: *guest,
            destination: *host,
            content: Content::Echo,
            state: Tracked::New,
            is_shim: false,
        };
        let chains = self.chains(&packet);
        let zones = chains.iter().find(|chain| {
            chain.table == "firewalld" && chain.name.ends_with("INPUT_ZONES") && chain.hooked.is_none()
        })?;
        let target = zones.rules.iter().flat_map(|rule| &rule.branches).find_map(|(fit, then)| {
            (*fit == Fit::Yes).then(|| then.target()).flatten().and_then(|to| to.strip_prefix("filter_IN_"))
        })?;
        Some(target.to_owned())
    }
}

#[cfg(test)]
mod tests;
