//! The subject of a question.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::Mac;

/// The thing that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sought {
    /// An address, of a guest or not.
    Address(IpAddr),
    /// The MAC of a NIC, a link or a shim.
    Mac(Mac),
    /// A guest's name: `web`, `shop/web`, `lxd:web`, `lxd:shop/web`.
    Name(String),
}

impl From<&str> for Sought {
    /// Everything that is neither an address nor a MAC is a name.
    fn from(text: &str) -> Sought {
        let address = || text.parse().or_else(|_| text.parse::<IpNet>().map(|net| net.addr()));
        match (address(), text.parse()) {
            (Ok(address), _) => Sought::Address(address),
            (_, Ok(mac)) => Sought::Mac(mac),
            _ => Sought::Name(text.to_owned()),
        }
    }
}

impl fmt::Display for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sought::Address(address) => address.fmt(f),
            Sought::Mac(mac) => mac.fmt(f),
            Sought::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_neither_an_address_nor_a_mac_is_a_name() {
        let address = |text: &str| Sought::Address(text.parse().unwrap());
        assert_eq!(Sought::from("192.0.2.9"), address("192.0.2.9"));
        assert_eq!(Sought::from("192.0.2.9/24"), address("192.0.2.9"));
        assert_eq!(Sought::from("fd00::9"), address("fd00::9"));
        assert_eq!(Sought::from("00:16:3E:00:00:01").to_string(), "00:16:3e:00:00:01");
        for name in ["web", "shop/web", "lxd:shop/web", "192.0.2.999", "00:16:3e"] {
            assert_eq!(Sought::from(name), Sought::Name(name.to_owned()));
        }
    }
}
