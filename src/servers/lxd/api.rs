//! The part of the JSON that we read. Unknown fields are ignored. A field that some version leaves out or
//! sets to null has a default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The key by which a guest opts out.
pub(super) const OPT_OUT: &str = "user.macvlan-shim.enabled";

/// The keys and values of a `config` or a device that we read. Servers list kilobytes of others for each
/// instance, and there may be thousands of instances. So the others are left out, and the few that remain
/// make a list.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<(String, String)>);

impl Keys {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Its size in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(key, value)| size_of::<(String, String)>() + key.len() + value.len()).sum()
    }

    fn is_read(key: &str) -> bool {
        let of_device =
            ["type", "name", "nictype", "network", "parent", "vlan", "hwaddr", "mode"].contains(&key);
        let of_nic = [".hwaddr", ".name"].iter().any(|end| key.ends_with(end));
        of_device || key == OPT_OUT || (key.starts_with("volatile.") && of_nic)
    }
}

/// `GET /1.0`
#[derive(Deserialize)]
pub(super) struct Identity {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) auth: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) environment: Environment,
}

/// The server's own description.
#[derive(Default, Deserialize)]
pub(super) struct Environment {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server_version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server_name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server_clustered: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server_pid: u32,
}

/// One item of `GET /1.0/instances?recursion=1`
#[derive(Debug, Deserialize)]
pub(super) struct Instance {
    pub(super) name: String,
    #[serde(default = "default_project")]
    pub(super) project: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) location: String,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(default)]
    pub(super) status_code: Option<i64>,
    /// The time of its last start, as the server writes it.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) last_used_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) profiles: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) expanded_config: Keys,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) expanded_devices: Devices,
}

impl Instance {
    /// Whether it may have a macvlan NIC. If a NIC names a network, only that network can tell.
    pub(super) fn may_be_guest(&self) -> bool {
        let is_nic = |device: &Keys| device.get("type") == Some("nic");
        let may_be =
            |device: &Keys| device.get("network").is_some() || device.get("nictype") == Some("macvlan");
        self.expanded_devices.0.iter().any(|(_, device)| is_nic(device) && may_be(device))
    }

    /// Its approximate size in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        let texts = [&self.name, &self.project, &self.location, &self.kind, &self.status, &self.last_used_at];
        let texts = texts.into_iter().chain(&self.profiles);
        let texts: usize = texts.map(|text| size_of::<String>() + text.len()).sum();
        let devices = self.expanded_devices.0.iter();
        let devices: usize =
            devices.map(|(name, keys)| size_of::<(String, Keys)>() + name.len() + keys.size()).sum();
        size_of::<Instance>() + texts + devices + self.expanded_config.size()
    }
}

/// Devices by their names, in that order.
#[derive(Debug, Default)]
pub(super) struct Devices(pub(super) Vec<(String, Keys)>);

/// `GET /1.0/networks/<name>`
#[derive(Deserialize)]
pub(super) struct Network {
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Keys,
}

/// One item of `GET /1.0/cluster/members?recursion=1`
#[derive(Deserialize)]
pub(super) struct Member {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) server_name: String,
    /// The place of its API: `https://192.168.100.63:8443`, or with a host name, or without a scheme.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) url: String,
}

impl Member {
    /// The address in its URL, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let place = self.url.strip_prefix("https://").unwrap_or(&self.url).trim_end_matches('/');
        let with_port = place.parse::<SocketAddr>().map(|place| place.ip());
        let bare = || place.trim_start_matches('[').trim_end_matches(']').parse();
        with_port.or_else(|_| bare()).ok()
    }
}

/// `GET /1.0/instances/<name>/state`
#[derive(Deserialize)]
pub(super) struct InstanceState {
    /// 0 or -1 if it does not run.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pid: i64,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

/// Skips the other keys, because making texts of them takes most of the time that a list takes.
struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = BTreeMap::new();
        while let Some(ReadKey(key)) = map.next_key()? {
            match key {
                Some(key) => drop(keys.insert(key, map.next_value()?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Keys(keys.into_iter().collect()))
    }
}

/// A key, if it is one that we read.
struct ReadKey(Option<String>);

impl<'de> Deserialize<'de> for ReadKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReadKey, D::Error> {
        deserializer.deserialize_str(ReadKeyVisitor)
    }
}

struct ReadKeyVisitor;

impl Visitor<'_> for ReadKeyVisitor {
    type Value = ReadKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<ReadKey, E> {
        Ok(ReadKey(Keys::is_read(key).then(|| key.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Devices, D::Error> {
        Ok(Devices(BTreeMap::deserialize(deserializer)?.into_iter().collect()))
    }
}

pub(super) fn default_project() -> String {
    "default".to_owned()
}

pub(super) fn or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_members_address_is_in_its_url() {
        let address = |url: &str| Member { server_name: String::new(), url: url.to_owned() }.address();
        let (v4, v6) = ("192.0.2.7".parse().ok(), "2001:db8::7".parse().ok());
        assert_eq!(address("https://192.0.2.7:8443"), v4);
        assert_eq!(address("192.0.2.7"), v4);
        assert_eq!(address("https://[2001:db8::7]:8443/"), v6);
        assert_eq!(address("https://[2001:db8::7]"), v6);
        assert_eq!(address("https://node7.example:8443"), None);
        assert_eq!(address(""), None);
    }
}
