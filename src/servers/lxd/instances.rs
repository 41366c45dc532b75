//! All instances of a server, whatever their NICs. The daemon knows only those with macvlan NICs. A command
//! asks for all, once, to say what it is that the daemon does not know.

use smol_str::SmolStr;

use super::api::{self, Instance};
use super::guest::{self, own_or_volatile};
use super::listing::ITEM;
use super::{envelope, read};
use crate::model::Mac;
use crate::model::inventory::{GuestKind, Power};
use crate::model::text;
use crate::servers::error::ServerError;
use crate::servers::http::Client;
use crate::servers::patience::Patience;

/// Maximum number of instances that are kept.
const MOST: usize = 16_384;

/// An instance, whatever its NICs.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyInstance {
    /// Its project.
    pub project: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// Container or VM.
    pub kind: GuestKind,
    /// Whether it runs.
    pub power: Power,
    /// The member of the cluster that has it, if that is not this host.
    pub elsewhere: Option<SmolStr>,
    /// Its NICs.
    pub nics: Vec<AnyNic>,
}

/// A NIC of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyNic {
    /// The device's name.
    pub name: SmolStr,
    /// `nictype`, such as `bridged`. `None` if the NIC names a managed network instead.
    pub kind: Option<SmolStr>,
    /// Its parent, or the managed network.
    pub upon: Option<SmolStr>,
    /// Its MAC.
    pub mac: Option<Mac>,
}

/// Reads them.
pub(in crate::servers) async fn instances(
    client: &Client,
    patience: &Patience,
) -> Result<Vec<AnyInstance>, ServerError> {
    let info = read::identify(envelope::get::<api::Identity>(client, "/1.0", patience.answer).await?)?;
    let path = "/1.0/instances?recursion=1&all-projects=true";
    let mut all = envelope::list(client, path, patience.list, (Vec::new(), ITEM), take_in).await?;
    for instance in &mut all {
        let own = text::name(&info.name);
        instance.elsewhere = instance.elsewhere.take().filter(|place| info.clustered && *place != own);
    }
    Ok(all)
}

/// Takes in the next entry. An unreadable one is nobody that can be found.
fn take_in(all: &mut Vec<AnyInstance>, item: &[u8]) {
    if let Ok(instance) = serde_json::from_slice::<Instance>(item)
        && all.len() < MOST
    {
        all.push(any(&instance));
    }
}

fn any(instance: &Instance) -> AnyInstance {
    let nic = |(name, device): (&str, &api::Keys)| {
        let told = |key: &str| device.get(key).filter(|value| !value.is_empty()).map(text::name);
        AnyNic {
            name: text::name(name),
            kind: told("nictype"),
            upon: told("network").or_else(|| told("parent")),
            mac: own_or_volatile(instance, name, device, "hwaddr").and_then(|text| text.parse().ok()),
        }
    };
    AnyInstance {
        project: text::name(&instance.project),
        name: text::name(&instance.name),
        kind: guest::kind(instance),
        power: guest::power(instance),
        elsewhere: Some(text::name(&instance.location)),
        nics: guest::nics(instance).map(nic).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_without_a_macvlan_nic_is_one_too() {
        let json = json!({"name": "br1", "project": "shop", "status_code": 103, "location": "none",
            "expanded_config": {"volatile.eth0.hwaddr": "00:16:3e:00:00:07"},
            "expanded_devices": {"eth0": {"type": "nic", "nictype": "bridged", "parent": "lxdbr0"},
                                 "eth1": {"type": "nic", "network": "ovn0"}, "root": {"type": "disk"}}});
        let mut all = Vec::new();
        take_in(&mut all, json.to_string().as_bytes());
        take_in(&mut all, b"7");
        let nic = |name: &str, kind: Option<&str>, upon: &str, mac: Option<&str>| AnyNic {
            name: name.into(),
            kind: kind.map(Into::into),
            upon: Some(upon.into()),
            mac: mac.map(|mac| mac.parse().unwrap()),
        };
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].project.as_str(), all[0].name.as_str(), all[0].power),
            ("shop", "br1", Power::Running)
        );
        assert_eq!(
            all[0].nics,
            [
                nic("eth0", Some("bridged"), "lxdbr0", Some("00:16:3e:00:00:07")),
                nic("eth1", None, "ovn0", None)
            ]
        );
    }
}
