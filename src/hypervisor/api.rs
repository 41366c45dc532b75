//! The part of the servers' JSON that we read. Unknown fields are ignored, and what some version leaves out or sets
//! to null has a default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::model::text;

/// A guest's own key to be left alone.
pub(super) const OPT_OUT: &str = "user.macvlan-shim.enabled";

/// The keys and values of a `config` or a device from which anything is to be learnt. Servers list kilobytes of others
/// for each instance, and there may be thousands of instances; so they are left out, and the few make a list.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<(String, String)>);

impl Keys {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
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
pub(super) struct Server {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) auth: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) environment: Environment,
}

/// The server's own circumstances.
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
#[derive(Deserialize)]
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
    /// When it was started last, in the server's own writing.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) last_used_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) profiles: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) expanded_config: Keys,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) expanded_devices: Devices,
}

/// Devices by their names, in that order.
#[derive(Default)]
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
    /// Where its API is: `https://192.168.100.63:8443`, or with a host name, or without a scheme.
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
pub(super) struct State {
    /// 0 or -1 if it does not run.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pid: i64,
}

/// A list of which some items may be malformed.
pub(super) struct Items(pub(super) Vec<Result<Instance, Malformed>>);

/// An item that is no instance as we know them, with what could be read of it.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) project: Option<String>,
    pub(super) name: Option<String>,
    pub(super) location: Option<String>,
    pub(super) why: String,
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Items, D::Error> {
        deserializer.deserialize_any(ItemsVisitor)
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        let mut keys: Vec<_> = pairs(deserializer)?;
        keys.retain(|(key, _): &(String, String)| Keys::is_read(key));
        keys.shrink_to_fit();
        Ok(Keys(keys))
    }
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Devices, D::Error> {
        Ok(Devices(pairs(deserializer)?))
    }
}

/// The pairs of an object, by their keys.
fn pairs<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, T)>, D::Error> {
    Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_unit<E>(self) -> Result<Items, E> {
        Ok(Items(Vec::new()))
    }

    /// Item by item, so that only one is in memory as a tree.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
        let mut items = Vec::new();
        while let Some(value) = list.next_element::<Value>()? {
            items.push(item(value));
        }
        Ok(Items(items))
    }
}

fn item(value: Value) -> Result<Instance, Malformed> {
    let why = match Instance::deserialize(&value) {
        Ok(instance) if !instance.name.is_empty() => return Ok(instance),
        Ok(_) => "it has no name".to_owned(),
        Err(error) => error.to_string(),
    };
    let text = |key| value.get(key).and_then(Value::as_str);
    let name = text("name").filter(|name| !name.is_empty()).map(text::name);
    let project = if value.get("project").is_none() { Some("default") } else { text("project") };
    let location = text("location").map(str::to_owned);
    Err(Malformed { project: project.map(text::name), name, location, why })
}

fn default_project() -> String {
    "default".to_owned()
}

fn or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_malformed_item_does_not_spoil_the_others() {
        let list = r#"[{"name":"a","profiles":null,"new":1},{"name":"b","expanded_devices":7},{"x":1},5,{"name":"c"}]"#;
        let Items(items) = serde_json::from_str(list).unwrap();
        assert_eq!(items.len(), 5);
        assert_eq!(items[0].as_ref().unwrap_or_else(|_| panic!()).name, "a");
        assert!(items[4].is_ok());
        let bad: Vec<_> = items.into_iter().filter_map(Result::err).collect();
        assert_eq!((bad[0].name.as_deref(), bad[0].project.as_deref()), (Some("b"), Some("default")));
        assert_eq!(bad[1].name, None);
        assert!(bad[2].why.contains("invalid type"), "{}", bad[2].why);
    }

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

    #[test]
    fn null_is_an_empty_list_and_an_object_is_none() {
        let Items(items) = serde_json::from_str("null").unwrap();
        assert!(items.is_empty());
        assert!(serde_json::from_str::<Items>("{}").is_err());
    }
}
