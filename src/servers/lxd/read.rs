//! One complete reading of a server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::api;
use super::first_process::Starts;
use super::guest::{self, ManagedNetwork, NetworkKey};
use super::listing::{Listing, Unreadable};
use crate::model::inventory::{Guest, NicParent, Power, ServerKind};
use crate::model::text;
use crate::servers::error::ServerError;
use crate::servers::http::{Client, escaped};
use crate::servers::patience::Patience;
use crate::servers::questions::GuestName;

/// How many warnings are shown.
const WARNINGS: usize = 3;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::servers) struct Info {
    pub(in crate::servers) kind: ServerKind,
    pub(in crate::servers) version: String,
    pub(in crate::servers) name: String,
    pub(in crate::servers) clustered: bool,
    pub(in crate::servers) pid: u32,
    /// The cluster's members by their addresses.
    pub(in crate::servers) members: BTreeMap<IpAddr, String>,
}

/// All that we know of a server. The parts that a new reading cannot tell are taken over from the one before.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::servers) struct Reading {
    pub(in crate::servers) info: Info,
    /// Sorted by project and name.
    pub(in crate::servers) guests: Vec<Guest>,
    /// The guests that run and whose first processes are asked for.
    pub(super) starts: Starts,
    networks: BTreeMap<NetworkKey, ManagedNetwork>,
    warnings: Vec<String>,
}

impl Reading {
    /// What could not be read, if anything.
    pub(in crate::servers) fn message(&self) -> Option<String> {
        let more = self.warnings.len().saturating_sub(WARNINGS);
        let shown = self.warnings.iter().take(WARNINGS).map(|warning| text::words(warning));
        let mut text = shown.collect::<Vec<_>>().join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        (!text.is_empty()).then_some(text)
    }

    /// The guest is there and runs.
    pub(super) fn runs(&self, guest: &GuestName) -> bool {
        self.place(guest).is_some_and(|place| self.guests[place].power == Power::Running)
    }

    /// Enters the first process of a guest.
    pub(super) fn enter_first_process(&mut self, guest: &GuestName, init: u32) {
        if let Some(place) = self.place(guest) {
            self.guests[place].init = Some(init);
        }
    }

    fn place(&self, (project, name): &GuestName) -> Option<usize> {
        self.guests.binary_search_by(|guest| (&guest.project, &guest.name).cmp(&(project, name))).ok()
    }
}

/// Reads a server: who it is, if `info` does not tell yet, its instances, the networks that they name, and when those
/// were started whose first processes are asked for (`first_processes`).
pub(in crate::servers) async fn read(
    client: Client,
    patience: Patience,
    info: Option<Info>,
    before: Option<Reading>,
    first_processes: BTreeSet<GuestName>,
) -> Result<Reading, ServerError> {
    let info = match info {
        Some(info) => info,
        None => {
            let mut info = identify(client.get("/1.0", patience.answer).await?)?;
            if info.clustered {
                let known = before.as_ref().map(|reading| reading.info.members.clone()).unwrap_or_default();
                info.members = members(&client, &patience).await?.unwrap_or(known);
            }
            info
        }
    };
    let listing = client.list("/1.0/instances?recursion=1&all-projects=true", patience.list).await?;
    let Listing { mut instances, mut malformed, left_out } = listing;
    let is_local = |location: &str| !info.clustered || location == info.name;
    instances.retain(|instance| is_local(&instance.location));
    malformed.retain(|item| item.location.as_deref().is_none_or(is_local));
    let (known, previous) = before.map(|reading| (reading.networks, reading.guests)).unwrap_or_default();
    let mut warnings = Vec::new();
    let mut networks = BTreeMap::new();
    let named: BTreeSet<NetworkKey> = instances.iter().flat_map(guest::networks).collect();
    if named.len() > patience.networks {
        let (all, limit) = (named.len(), patience.networks);
        warnings.push(format!(
            "its guests use {all} managed networks, of which the first {limit} by project and name are looked up; guests \
             of the others are not served"
        ));
    }
    for key in named.into_iter().take(patience.networks) {
        let network = network(&client, &patience, &info, &key, known.get(&key), &mut warnings).await?;
        networks.insert(key, network);
    }
    let starts = starts(&instances, &first_processes);
    let mut guests: Vec<Guest> = instances.iter().filter_map(|i| guest::guest(i, &networks)).collect();
    keep_malformed(&malformed, previous, &mut guests);
    guests.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
    let more = left_out + guests.len().saturating_sub(patience.guests);
    guests.truncate(patience.guests);
    if more > 0
        && let Some(last) = guests.last()
    {
        let (limit, project, name) = (guests.len(), &last.project, &last.name);
        // What matters most comes first: few warnings are shown.
        warnings.insert(0, format!(
            "it has {more} guests more than are served at most; the first {limit} by project and name are served, up to \
             {name} in project {project}"
        ));
    }
    warnings.extend(malformed.iter().map(complaint));
    Ok(Reading { info, guests, starts, networks, warnings })
}

/// The members of the server's cluster that have an address in their URL; `None` if it refuses to tell.
async fn members(
    client: &Client,
    patience: &Patience,
) -> Result<Option<BTreeMap<IpAddr, String>>, ServerError> {
    match client.get::<Vec<api::Member>>("/1.0/cluster/members?recursion=1", patience.answer).await {
        Ok(members) => {
            let named = |member: api::Member| Some((member.address()?, member.server_name));
            Ok(Some(members.into_iter().filter_map(named).collect()))
        }
        Err(ServerError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// When those that run and are asked for were started.
fn starts(instances: &[api::Instance], first_processes: &BTreeSet<GuestName>) -> Starts {
    let asked =
        instances.iter().filter(|instance| guest::power(instance) == Power::Running).filter_map(|instance| {
            let guest = first_processes.get(&(text::name(&instance.project), text::name(&instance.name)))?;
            // Its server knows a guest with an unprintable name by another name than we do.
            let same = *guest.0 == instance.project && *guest.1 == instance.name;
            same.then(|| (guest.clone(), instance.last_used_at.clone()))
        });
    asked.collect()
}

/// A guest whose entry cannot be read is as it was; if not even its name can be read, it may be any that is missing.
fn keep_malformed(malformed: &[Unreadable], previous: Vec<Guest>, guests: &mut Vec<Guest>) {
    if malformed.is_empty() {
        return;
    }
    let named: BTreeSet<(Option<&str>, Option<&str>)> =
        malformed.iter().map(|item| (item.project.as_deref(), item.name.as_deref())).collect();
    let is_malformed = |guest: &Guest| {
        let (project, name) = (Some(guest.project.as_str()), Some(guest.name.as_str()));
        [(project, name), (project, None), (None, name), (None, None)].iter().any(|item| named.contains(item))
    };
    let listed: BTreeSet<(&str, &str)> =
        guests.iter().map(|guest| (guest.project.as_str(), guest.name.as_str())).collect();
    let is_listed = |guest: &Guest| listed.contains(&(guest.project.as_str(), guest.name.as_str()));
    let kept: Vec<Guest> = previous.into_iter().filter(|old| is_malformed(old) && !is_listed(old)).collect();
    guests.extend(kept);
}

fn complaint(item: &Unreadable) -> String {
    match &item.name {
        Some(name) => format!("the entry of instance {name:?} cannot be read: {}", item.why),
        None => format!("the entry of an instance cannot be read: {}", item.why),
    }
}

fn identify(server: api::Identity) -> Result<Info, ServerError> {
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

/// Resolves a managed network. An instance that uses one keeps it from being deleted, so a refusal is some fault of
/// the server's, and what was known before still holds.
async fn network(
    client: &Client,
    patience: &Patience,
    info: &Info,
    (project, name): &NetworkKey,
    known: Option<&ManagedNetwork>,
    warnings: &mut Vec<String>,
) -> Result<ManagedNetwork, ServerError> {
    let mut path = format!("/1.0/networks/{}?project={}", escaped(name), escaped(project));
    if info.clustered {
        // The parent may differ from member to member.
        path.push_str(&format!("&target={}", escaped(&info.name)));
    }
    match client.get::<api::Network>(&path, patience.answer).await {
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

    use super::*;

    fn guest(project: &str, name: &str) -> Guest {
        let instance = json!({"name": name, "project": project,
            "expanded_devices": {"eth0": {"type": "nic", "nictype": "macvlan", "parent": "eth0"}}});
        guest::guest(&serde_json::from_value(instance).unwrap(), &BTreeMap::new()).unwrap()
    }

    fn malformed(project: Option<&str>, name: Option<&str>) -> Unreadable {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Unreadable { project: text(project), name: text(name), location: None, why: "why".into() }
    }

    #[test]
    fn a_malformed_guest_stays_as_it_was() {
        let previous = || vec![guest("default", "a"), guest("default", "b"), guest("shop", "a")];
        let kept = |item| {
            let mut guests = vec![guest("default", "b")];
            keep_malformed(&[item], previous(), &mut guests);
            guests.into_iter().map(|guest| format!("{}/{}", guest.project, guest.name)).collect::<Vec<_>>()
        };
        assert_eq!(kept(malformed(Some("shop"), Some("a"))), ["default/b", "shop/a"]);
        assert_eq!(kept(malformed(None, None)), ["default/b", "default/a", "shop/a"]);
        assert_eq!(kept(malformed(Some("default"), None)), ["default/b", "default/a"]);
        assert_eq!(kept(malformed(None, Some("a"))), ["default/b", "default/a", "shop/a"]);
        assert_eq!(kept(malformed(Some("default"), Some("new"))), ["default/b"]);
    }

    #[test]
    fn warnings_are_few() {
        let info = identify(
            serde_json::from_value(json!({"auth": "trusted", "environment": {"server": "lxd"}})).unwrap(),
        )
        .unwrap();
        let warnings = (0..5).map(|n| format!("w{n}")).collect();
        let reading =
            Reading { info, guests: vec![], starts: Starts::new(), networks: BTreeMap::new(), warnings };
        assert_eq!(reading.message().unwrap(), "w0; w1; w2; and 2 more");
    }
}
