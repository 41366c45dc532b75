//! A text without the addresses in it. The same address is replaced by the same word, so that what belongs
//! together still does: MACs by a number, IPv4 addresses by the number of their first three bytes and their last
//! byte, IPv6 addresses by the numbers of their two halves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Mac;

/// Replaces addresses. Addresses that every machine has stay: loopback, multicast, the unspecified one.
#[derive(Debug, Default)]
pub struct Redactor {
    numbers: BTreeMap<(Part, u64), usize>,
}

/// The parts of addresses that are numbered apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Mac,
    Network4,
    Network6,
    Host6,
}

impl Redactor {
    /// The text with every address replaced.
    pub fn redact(&mut self, text: &str) -> String {
        let mut redacted = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            // Whole words, because the end of a word may look like an address.
            let is_part = |c: char| c.is_alphanumeric() || c == ':' || c == '.';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            redacted += &self.word(&rest[..end]);
            let after = rest[end..].find(is_part).map_or(rest.len(), |length| end + length);
            redacted += &rest[end..after];
            rest = &rest[after..];
        }
        redacted
    }

    fn number(&mut self, part: Part, of: u64) -> usize {
        let next = self.numbers.keys().filter(|(its, _)| *its == part).count() + 1;
        *self.numbers.entry((part, of)).or_insert(next)
    }

    /// An address, perhaps with a port behind it, a name before it, or a full stop; else a word.
    fn word(&mut self, word: &str) -> String {
        let trimmed = word.trim_end_matches(['.', ':']);
        for (address, after) in [(word, ""), (trimmed, &word[trimmed.len()..])] {
            if let Some(masked) = self.address(address) {
                return masked + after;
            }
        }
        for (at, _) in word.match_indices(':') {
            let (before, after) = (&word[..at], &word[at + 1..]);
            if let Some(masked) = self.address(before) {
                return format!("{masked}:{after}");
            }
            if let Some(masked) = self.address(after) {
                return format!("{before}:{masked}");
            }
        }
        self.name(word)
    }

    fn address(&mut self, text: &str) -> Option<String> {
        if let Ok(mac) = text.parse::<Mac>() {
            return Some(self.mac(mac));
        }
        match text.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => Some(self.v4(address)),
            IpAddr::V6(address) => Some(self.v6(address)),
        }
    }

    fn mac(&mut self, mac: Mac) -> String {
        let all = mac.0.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        match all {
            0 | 0xffff_ffff_ffff => mac.to_string(),
            all => format!("mac-{}", self.number(Part::Mac, all)),
        }
    }

    fn v4(&mut self, address: Ipv4Addr) -> String {
        let keeps = address.is_loopback() || address.is_multicast() || address.octets()[0] == 0;
        if keeps || address.is_broadcast() || address.octets()[0] == 255 {
            return address.to_string();
        }
        let bits = address.to_bits();
        format!("net4-{}.{}", self.number(Part::Network4, u64::from(bits >> 8)), bits & 0xff)
    }

    fn v6(&mut self, address: Ipv6Addr) -> String {
        let (high, low) = ((address.to_bits() >> 64) as u64, address.to_bits() as u64);
        if high == 0 && low <= 1 || address.is_multicast() {
            return address.to_string();
        }
        let network = match address.is_unicast_link_local() {
            true => "fe80".to_owned(),
            false => format!("net6-{}", self.number(Part::Network6, high)),
        };
        match low {
            0 => format!("{network}::"),
            low => format!("{network}::host-{}", self.number(Part::Host6, low)),
        }
    }

    /// A name may have a MAC in it, as that of a USB network interface has: `enx001122334455`.
    fn name(&mut self, word: &str) -> String {
        let Some(at) = word.find("enx") else { return word.to_owned() };
        let (start, rest) = word.split_at(at + 3);
        let Some(digits) = rest.get(..12).filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()))
        else {
            return word.to_owned();
        };
        let number = u64::from_str_radix(digits, 16).unwrap_or_default();
        format!("{start}mac-{}{}", self.number(Part::Mac, number), &rest[12..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_becomes_the_same_word() {
        let mut redactor = Redactor::default();
        for (text, expected) in [
            ("192.168.100.62/24 dev eth0", "net4-1.62/24 dev eth0"),
            ("192.168.100.1, 10.0.0.9: 192.168.101.1.", "net4-1.1, net4-2.9: net4-3.1."),
            ("00:16:3e:00:00:01 and 02:00:00:00:00:07", "mac-1 and mac-2"),
            ("lladdr 00:16:3E:00:00:01 PERMANENT", "lladdr mac-1 PERMANENT"),
            ("fd64::62/64 fd64::1 fd65::62", "net6-1::host-1/64 net6-1::host-2 net6-2::host-1"),
            ("fe80::216:3eff:fe00:1%eth0", "fe80::host-3%eth0"),
            ("fd64::/64", "net6-1::/64"),
            ("mvs-enx02000000000 enx020000000007.4", "mvs-enx02000000000 enxmac-2.4"),
            ("192.168.100.62:443", "net4-1.62:443"),
            ("10.0.0.1-10.0.0.9 lxd:fd64::62", "net4-2.1-net4-2.9 lxd:net6-1::host-1"),
            ("eth0:00:16:3e:00:00:01", "eth0:mac-1"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn other_words_stay() {
        let mut redactor = Redactor::default();
        for text in [
            "macvlan-shim 0.1.0, Linux 6.1.0-56, 14:02:33, at 12:30: dead beef",
            "127.0.0.1 ::1 0.0.0.0/0 ::/0 255.255.255.0 ff02::1 224.0.0.251 00:00:00:00:00:00",
            "reconcile::desire eth0@if2 für 東京 …",
            "",
        ] {
            assert_eq!(redactor.redact(text), text);
        }
    }
}
