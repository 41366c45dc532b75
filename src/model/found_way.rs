//! The kernel's own word on the way of a packet: the answer of `ip route get`.

use std::fmt;
use std::net::IpAddr;

use smol_str::SmolStr;

use super::names::{TABLE_LOCAL, TABLE_MAIN};

/// The way that a packet of the host to an address takes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundWay {
    /// It leaves, or stays on this host.
    Out {
        /// The link that it leaves through. `lo` for an address of the host.
        link: SmolStr,
        /// The gateway, if there is one.
        gateway: Option<IpAddr>,
        /// The address that it comes from.
        source: Option<IpAddr>,
        /// The table of the route.
        table: u32,
    },
    /// There is none: the kernel's words.
    None(String),
}

impl FoundWay {
    /// Whether packets leave through that link, directly and from that address.
    pub fn is(&self, through: &str, from: IpAddr) -> bool {
        match self {
            FoundWay::Out { link, gateway: None, source, .. } => link == through && *source == Some(from),
            _ => false,
        }
    }
}

impl fmt::Display for FoundWay {
    /// In the words of ip.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FoundWay::None(why) => f.write_str(why),
            FoundWay::Out { link, gateway, source, table } => {
                if let Some(gateway) = gateway {
                    write!(f, "via {gateway} ")?;
                }
                write!(f, "dev {link}")?;
                if let Some(source) = source {
                    write!(f, " src {source}")?;
                }
                match *table {
                    TABLE_MAIN | TABLE_LOCAL => Ok(()),
                    table => write!(f, " table {table}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_right_only_if_link_and_source_are() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let way = |link: &str, gateway: Option<&str>, table| FoundWay::Out {
            link: link.into(),
            gateway: gateway.map(ip),
            source: Some(ip("10.0.0.1")),
            table,
        };
        let right = way("mvs-eth0", None, 254);
        assert!(right.is("mvs-eth0", ip("10.0.0.1")) && !right.is("mvs-eth0", ip("10.0.0.2")));
        assert!(!way("eth0", None, 254).is("mvs-eth0", ip("10.0.0.1")));
        assert!(!way("mvs-eth0", Some("10.0.0.9"), 254).is("mvs-eth0", ip("10.0.0.1")));
        assert_eq!(right.to_string(), "dev mvs-eth0 src 10.0.0.1");
        assert_eq!(
            way("tun0", Some("10.0.0.9"), 52).to_string(),
            "via 10.0.0.9 dev tun0 src 10.0.0.1 table 52"
        );
    }
}
