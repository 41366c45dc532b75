//! An instance's JSON → a guest. Pure.

use std::collections::BTreeMap;

use super::api::{Instance, Keys, OPT_OUT};
use crate::model::inventory::{Guest, GuestKind, Home, Mode, Nic, NicParent, Nics, OptOut, Power};
use crate::model::text;

/// `status_code` of a stopped instance.
const STOPPED: i64 = 102;

/// A network as an instance names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NetworkKey {
    /// The instance's project.
    pub(super) project: String,
    /// The network's name.
    pub(super) name: String,
}

/// The network that a `network` key names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ManagedNetwork {
    /// A macvlan network, or a network that could not be read.
    Macvlan(NicParent),
    /// A network of another type, which does not concern us.
    Other,
}

/// The managed networks that an instance's NICs name.
pub(super) fn networks(instance: &Instance) -> impl Iterator<Item = NetworkKey> {
    let names = nics(instance).filter_map(|(_, device)| device.get("network"));
    names.map(|network| key(instance, network))
}

/// The guest, or `None` if it has no macvlan NIC. `networks` has an answer to each of [`networks`].
pub(super) fn guest(instance: &Instance, networks: &BTreeMap<NetworkKey, ManagedNetwork>) -> Option<Guest> {
    let mut nics: Vec<Nic> = nics(instance)
        .filter_map(|(name, device)| {
            Some(Nic {
                name: text::name(name),
                link: text::name(own_or_volatile(instance, name, device, "name").unwrap_or(name)),
                mac: own_or_volatile(instance, name, device, "hwaddr").and_then(|text| text.parse().ok()),
                parent: parent(instance, device, networks)?,
                mode: mode(device),
            })
        })
        .collect();
    nics.shrink_to_fit();
    (!nics.is_empty()).then(|| Guest {
        project: text::name(&instance.project),
        name: text::name(&instance.name),
        kind: kind(instance),
        power: power(instance),
        home: Home::Unknown,
        profiles: instance.profiles.iter().map(|profile| text::name(profile)).collect(),
        opt: opt(instance.expanded_config.get(OPT_OUT).unwrap_or_default()),
        nics: Nics::Told(nics),
    })
}

/// The parent that a device or a network names in `parent` and `vlan`.
pub(super) fn link(config: &Keys) -> NicParent {
    let Some(name) = config.get("parent").filter(|name| !name.is_empty()) else {
        return NicParent::Unknown("it names no parent".to_owned());
    };
    let vlan = match config.get("vlan") {
        None | Some("") => None,
        Some(vlan) => match vlan.parse() {
            Ok(vlan) if vlan < 4095 => Some(vlan),
            _ => return NicParent::Unknown(format!("\"{}\" is not a VLAN id", text::words(vlan))),
        },
    };
    NicParent::Link { name: text::name(name), vlan }
}

/// Its NICs of any kind: name and device.
pub(super) fn nics(instance: &Instance) -> impl Iterator<Item = (&str, &Keys)> {
    instance
        .expanded_devices
        .0
        .iter()
        .filter(|(_, device)| device.get("type") == Some("nic"))
        .map(|(name, device)| (name.as_str(), device))
}

fn key(instance: &Instance, network: &str) -> NetworkKey {
    NetworkKey { project: instance.project.clone(), name: network.to_owned() }
}

/// `None` if the NIC is not a macvlan.
fn parent(
    instance: &Instance,
    device: &Keys,
    networks: &BTreeMap<NetworkKey, ManagedNetwork>,
) -> Option<NicParent> {
    if let Some(network) = device.get("network") {
        return match networks.get(&key(instance, network))? {
            ManagedNetwork::Macvlan(parent) => Some(parent.clone()),
            ManagedNetwork::Other => None,
        };
    }
    device.get("nictype").filter(|kind| *kind == "macvlan").map(|_| link(device))
}

/// The value that a device gives itself, or else the value that its server chose for it.
pub(super) fn own_or_volatile<'a>(
    instance: &'a Instance,
    nic: &str,
    device: &'a Keys,
    key: &str,
) -> Option<&'a str> {
    let volatile = || instance.expanded_config.get(&format!("volatile.{nic}.{key}"));
    let told = |text: &&str| !text.is_empty();
    device.get(key).filter(told).or_else(|| volatile().filter(told))
}

fn mode(device: &Keys) -> Mode {
    match device.get("mode") {
        None | Some("" | "bridge") => Mode::Bridge,
        Some("private") => Mode::Private,
        Some("vepa") => Mode::Vepa,
        Some("passthru") => Mode::Passthru,
        Some(_) => Mode::Other,
    }
}

/// Container or VM.
pub(super) fn kind(instance: &Instance) -> GuestKind {
    match instance.kind.as_str() {
        "virtual-machine" => GuestKind::VirtualMachine,
        _ => GuestKind::Container,
    }
}

/// Whether an instance runs. A state that we do not know counts as running.
pub(super) fn power(instance: &Instance) -> Power {
    let stopped = match instance.status_code {
        Some(code) => code == STOPPED,
        None => instance.status.eq_ignore_ascii_case("stopped"),
    };
    if stopped { Power::Stopped } else { Power::Running }
}

/// A boolean as the servers read it.
fn opt(value: &str) -> OptOut {
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "1" | "yes" | "on" => OptOut::In,
        "false" | "0" | "no" | "off" => OptOut::Out,
        _ => OptOut::Invalid(text::words(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn instance(value: Value) -> Instance {
        serde_json::from_value(value).unwrap()
    }

    fn with_nic(device: Value) -> Option<Nic> {
        let instance = instance(json!({"name": "c", "expanded_devices": {"n": device}}));
        guest(&instance, &BTreeMap::new())?.nics.told().first().cloned()
    }

    #[test]
    fn only_macvlan_nics_make_a_guest() {
        assert_eq!(with_nic(json!({"type": "nic", "nictype": "bridged", "parent": "br0"})), None);
        assert_eq!(with_nic(json!({"type": "disk", "nictype": "macvlan", "parent": "eth0"})), None);
        assert_eq!(with_nic(json!({"type": "nic", "network": "unheard-of"})), None);
        assert!(with_nic(json!({"type": "nic", "nictype": "macvlan", "parent": "eth0"})).is_some());
    }

    #[test]
    fn a_vlan_is_added_to_the_parent() {
        let with =
            |vlan: &str| with_nic(json!({"type": "nic", "nictype": "macvlan", "parent": "e", "vlan": vlan}));
        let link = |vlan| NicParent::Link { name: "e".into(), vlan };
        assert_eq!(with("10").unwrap().parent, link(Some(10)));
        assert_eq!(with("").unwrap().parent, link(None));
        for vlan in ["ten", "4095", "70000", "-1"] {
            assert_eq!(with(vlan).unwrap().parent, NicParent::Unknown(format!("{vlan:?} is not a VLAN id")));
        }
        let bare = with_nic(json!({"type": "nic", "nictype": "macvlan"})).unwrap();
        assert_eq!(bare.parent, NicParent::Unknown("it names no parent".into()));
    }

    #[test]
    fn the_mac_of_the_device_comes_before_the_volatile_one() {
        let mut json = json!({"name": "c", "expanded_config": {"volatile.n.hwaddr": "00:16:3e:00:00:02"},
            "expanded_devices": {"n": {"type": "nic", "nictype": "macvlan", "parent": "e", "mode": "vepa"}}});
        let nic =
            |json: &Value| guest(&instance(json.clone()), &BTreeMap::new()).unwrap().nics.told()[0].clone();
        assert_eq!(nic(&json).mac, "00:16:3e:00:00:02".parse().ok());
        json["expanded_devices"]["n"]["hwaddr"] = json!("00:16:3E:00:00:01");
        assert_eq!(nic(&json).mac, "00:16:3e:00:00:01".parse().ok());
        assert_eq!(nic(&json).mode, Mode::Vepa);
    }

    #[test]
    fn a_link_has_the_name_of_the_device_only_if_no_other_is_given() {
        let mut json = json!({"name": "c", "expanded_config": {"volatile.lan.host_name": "mac0e54ab14"},
            "expanded_devices": {"lan": {"type": "nic", "nictype": "macvlan", "parent": "e"}}});
        let nic =
            |json: &Value| guest(&instance(json.clone()), &BTreeMap::new()).unwrap().nics.told()[0].clone();
        assert_eq!(nic(&json).link, "lan");
        json["expanded_config"]["volatile.lan.name"] = json!("eth0");
        assert_eq!(nic(&json).link, "eth0");
        json["expanded_devices"]["lan"]["name"] = json!("uplink");
        assert_eq!((nic(&json).link.as_str(), nic(&json).name.as_str()), ("uplink", "lan"));
    }

    #[test]
    fn every_state_but_stopped_counts_as_running() {
        let power = |value: Value| power(&instance(value));
        assert_eq!(power(json!({"name": "c", "status": "Stopped", "status_code": 102})), Power::Stopped);
        assert_eq!(power(json!({"name": "c", "status": "STOPPED"})), Power::Stopped);
        for code in [103, 113, 110, 109, 111, 106, 107, 108, 112, 0] {
            assert_eq!(power(json!({"name": "c", "status_code": code})), Power::Running);
        }
    }

    #[test]
    fn the_servers_booleans_opt_in_and_out() {
        for value in ["", "true", "1", "Yes", "ON"] {
            assert_eq!(opt(value), OptOut::In);
        }
        for value in ["false", "0", "NO", "Off"] {
            assert_eq!(opt(value), OptOut::Out);
        }
        assert_eq!(opt("Nope"), OptOut::Invalid("Nope".into()));
    }
}
