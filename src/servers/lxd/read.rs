//! One complete reading of a server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::guest::{self, ManagedNetwork, NetworkKey};
use super::listing::{Arriving, ITEM, Listing, Unreadable};
use super::reading::{Info, Reading, Starts};
use super::{api, envelope};
use crate::model::inventory::{Guest, NicParent, Power, ServerKind};
use crate::model::text;
use crate::servers::error::ServerError;
use crate::servers::http::{Client, escaped};
use crate::servers::patience::Patience;
use crate::servers::questions::GuestName;

/// Reads a server: its own description unless `info` has it already, its instances, the networks that they
/// name, and the start times of the guests whose first processes are `asked` for.
pub(in crate::servers) async fn read(
    client: Client,
    patience: Patience,
    info: Option<Info>,
    before: Option<Arc<Reading>>,
    asked: BTreeSet<GuestName>,
) -> Result<Reading, ServerError> {
    let before = before.as_deref();
    let info = match info {
        Some(info) => info,
        None => {
            let mut info = identify(envelope::get(&client, "/1.0", patience.answer).await?)?;
            if info.clustered {
                let known = || before.map(|reading| reading.info.members.clone()).unwrap_or_default();
                info.members = members(&client, &patience).await?.unwrap_or_else(known);
            }
            info
        }
    };
    let path = "/1.0/instances?recursion=1&all-projects=true";
    let kept = (Arriving::default(), ITEM);
    let arrived = envelope::list(&client, path, patience.list, kept, Arriving::take_in).await?;
    let Listing { mut instances, mut unreadable, left_out } = arrived.end();
    let is_local = |location: &str| !info.clustered || location == info.name;
    instances.retain(|instance| is_local(&instance.location));
    unreadable.retain(|item| item.location.as_deref().is_none_or(is_local));
    let mut warnings = Vec::new();
    let mut networks = BTreeMap::new();
    let named: BTreeSet<NetworkKey> = instances.iter().flat_map(guest::networks).collect();
    if named.len() > patience.max_networks {
        let (all, limit) = (named.len(), patience.max_networks);
        warnings.push(format!(
            "its guests use {all} managed networks, of which the first {limit} by project and name are looked up; guests \
             of the others are not served"
        ));
    }
    for key in named.into_iter().take(patience.max_networks) {
        let known = before.and_then(|reading| reading.networks.get(&key));
        let network = network(&client, &patience, &info, &key, known, &mut warnings).await?;
        networks.insert(key, network);
    }
    let starts = starts(&instances, &asked);
    let mut guests: Vec<Guest> = instances.iter().filter_map(|i| guest::guest(i, &networks)).collect();
    keep_unreadable(&unreadable, before.map_or(&[], |reading| &reading.guests), &mut guests);
    guests.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
    let more = left_out + guests.len().saturating_sub(patience.max_guests);
    guests.truncate(patience.max_guests);
    if more > 0
        && let Some(last) = guests.last()
    {
        let (limit, project, name) = (guests.len(), &last.project, &last.name);
        // The most important warning comes first, because few are shown.
        warnings.insert(0, format!(
            "it has {more} guests more than the maximum; the first {limit} by project and name are served, up to \
             {name} in project {project}"
        ));
    }
    warnings.extend(unreadable.iter().map(complaint));
    Ok(Reading { info, guests, starts, networks, warnings })
}

/// The members of the server's cluster that have an address in their URL. `None` if the server refuses to
/// tell.
async fn members(
    client: &Client,
    patience: &Patience,
) -> Result<Option<BTreeMap<IpAddr, String>>, ServerError> {
    match envelope::get::<Vec<api::Member>>(client, "/1.0/cluster/members?recursion=1", patience.answer).await
    {
        Ok(members) => {
            let named = |member: api::Member| Some((member.address()?, member.server_name));
            Ok(Some(members.into_iter().filter_map(named).collect()))
        }
        Err(ServerError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The start times of the running guests that are asked for.
fn starts(instances: &[api::Instance], asked: &BTreeSet<GuestName>) -> Starts {
    let starts =
        instances.iter().filter(|instance| guest::power(instance) == Power::Running).filter_map(|instance| {
            let (project, name) = (text::name(&instance.project), text::name(&instance.name));
            let guest = asked.get(&GuestName { project, name })?;
            // The server knows a guest with an unprintable name by another name than we do.
            let same = guest.project == instance.project && guest.name == instance.name;
            same.then(|| (guest.clone(), instance.last_used_at.clone()))
        });
    starts.collect()
}

/// A guest whose entry cannot be read stays as it was. If not even the name can be read, the entry may be
/// that of any guest that is missing.
fn keep_unreadable(unreadable: &[Unreadable], before: &[Guest], guests: &mut Vec<Guest>) {
    if unreadable.is_empty() {
        return;
    }
    let named: BTreeSet<(Option<&str>, Option<&str>)> =
        unreadable.iter().map(|item| (item.project.as_deref(), item.name.as_deref())).collect();
    let is_unreadable = |guest: &Guest| {
        let (project, name) = (Some(guest.project.as_str()), Some(guest.name.as_str()));
        [(project, name), (project, None), (None, name), (None, None)].iter().any(|item| named.contains(item))
    };
    let listed: BTreeSet<(&str, &str)> =
        guests.iter().map(|guest| (guest.project.as_str(), guest.name.as_str())).collect();
    let is_listed = |guest: &Guest| listed.contains(&(guest.project.as_str(), guest.name.as_str()));
    let kept: Vec<Guest> =
        before.iter().filter(|guest| is_unreadable(guest) && !is_listed(guest)).cloned().collect();
    guests.extend(kept);
}

fn complaint(item: &Unreadable) -> String {
    match &item.name {
        Some(name) => format!("the entry of instance {name:?} cannot be read: {}", item.why),
        None => format!("the entry of an instance cannot be read: {}", item.why),
    }
}

/// The server's own description.
pub(super) fn identify(server: api::Identity) -> Result<Info, ServerError> {
    let environment = server.environment;
    let kind = match environment.server.as_str() {
        "lxd" => ServerKind::Lxd,
        "incus" => ServerKind::Incus,
        other => {
            return Err(ServerError::Failed(format!(
                "expected LXD or Incus, but the server calls itself {other:?}"
            )));
        }
    };
    if server.auth != "trusted" {
        let auth = server.auth;
        return Err(ServerError::Failed(format!(
            "the server does not trust us (auth is {auth:?}); its main socket is needed, not one for users"
        )));
    }
    Ok(Info {
        kind,
        version: environment.server_version,
        name: environment.server_name,
        clustered: environment.server_clustered,
        pid: environment.server_pid,
        members: BTreeMap::new(),
    })
}

/// Resolves a managed network. A network that an instance uses cannot be deleted. So a refusal is a fault of
/// the server, and the earlier answer still holds.
async fn network(
    client: &Client,
    patience: &Patience,
    info: &Info,
    NetworkKey { project, name }: &NetworkKey,
    known: Option<&ManagedNetwork>,
    warnings: &mut Vec<String>,
) -> Result<ManagedNetwork, ServerError> {
    let mut path = format!("/1.0/networks/{}?project={}", escaped(name), escaped(project));
    if info.clustered {
        // The parent may differ from member to member.
        path.push_str(&format!("&target={}", escaped(&info.name)));
    }
    match envelope::get::<api::Network>(client, &path, patience.answer).await {
        Ok(network) if network.kind != "macvlan" => Ok(ManagedNetwork::Other),
        Ok(network) => Ok(ManagedNetwork::Macvlan(match guest::link(&network.config) {
            NicParent::Unknown(why) => NicParent::Unknown(format!("network {name:?}: {why}")),
            link => link,
        })),
        Err(ServerError::Refused(why)) => {
            let unknown = || ManagedNetwork::Macvlan(NicParent::Unknown(text::words(&why)));
            let network = known.cloned().unwrap_or_else(unknown);
            warnings.push(why);
            Ok(network)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use smol_str::SmolStr;

    use super::*;

    fn guest(project: &str, name: &str) -> Guest {
        let instance = json!({"name": name, "project": project,
            "expanded_devices": {"eth0": {"type": "nic", "nictype": "macvlan", "parent": "eth0"}}});
        guest::guest(&serde_json::from_value(instance).unwrap(), &BTreeMap::new()).unwrap()
    }

    fn unreadable(project: Option<&str>, name: Option<&str>) -> Unreadable {
        let text = |text: Option<&str>| text.map(SmolStr::from);
        Unreadable { project: text(project), name: text(name), location: None, why: "why".into() }
    }

    #[test]
    fn a_guest_whose_entry_is_unreadable_stays_as_it_was() {
        let before = [guest("default", "a"), guest("default", "b"), guest("shop", "a")];
        let kept = |item| {
            let mut guests = vec![guest("default", "b")];
            keep_unreadable(&[item], &before, &mut guests);
            guests.into_iter().map(|guest| format!("{}/{}", guest.project, guest.name)).collect::<Vec<_>>()
        };
        assert_eq!(kept(unreadable(Some("shop"), Some("a"))), ["default/b", "shop/a"]);
        assert_eq!(kept(unreadable(None, None)), ["default/b", "default/a", "shop/a"]);
        assert_eq!(kept(unreadable(Some("default"), None)), ["default/b", "default/a"]);
        assert_eq!(kept(unreadable(None, Some("a"))), ["default/b", "default/a", "shop/a"]);
        assert_eq!(kept(unreadable(Some("default"), Some("new"))), ["default/b"]);
    }
}
