//! A MAC address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Six bytes of an Ethernet address, shown as `00:16:3e:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(transparent))]
pub struct Mac(#[cfg_attr(feature = "schema", schemars(with = "String"))] pub [u8; 6]);

/// A text that is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address; expected six hex bytes such as 00:16:3e:00:00:01")]
pub struct NoMac(pub String);

impl Mac {
    /// From the bytes that netlink carries; `None` for links whose addresses are of another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Mac> {
        bytes.try_into().ok().map(Mac)
    }

    /// One of VRRP's (RFC 9568): it goes from machine to machine with the address that it serves.
    pub fn is_virtual_routers(self) -> bool {
        matches!(self.0, [0, 0, 0x5e, 0, 1 | 2, _])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = NoMac;

    fn from_str(text: &str) -> Result<Mac, NoMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| NoMac(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(NoMac(text.to_owned()));
        }
        Ok(Mac(bytes))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mac, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_the_same_address() {
        let mac: Mac = "00:16:3E:ab:00:ff".parse().unwrap();
        assert_eq!(mac, Mac([0, 0x16, 0x3e, 0xab, 0, 0xff]));
        assert_eq!(mac.to_string(), "00:16:3e:ab:00:ff");
    }

    #[test]
    fn a_text_that_is_no_mac_is_refused_and_quoted() {
        for text in ["", "00:16:3e:ab:00", "00:16:3e:ab:00:ff:01", "00:16:3e:ab:0:ff", "+0:16:3e:ab:00:ff"] {
            assert_eq!(text.parse::<Mac>(), Err(NoMac(text.to_owned())));
        }
    }
}
