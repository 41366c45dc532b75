//! Guests that listen in. A macvlan in mode `source` gets every frame from the MACs on its list, whatever its
//! destination: from a shim to other guests, from those to the host, and from the gateway to the host. With
//! `nodst` nobody else gets it, and for that the macvlan need not even be up. The kernel lets root of any
//! guest make one on the host's parent, and hands it the frames after every filter and before anybody else.
//! So all that we can do is report it.
//!
//! No other mode overhears frames to other MACs, promiscuous or not.

use std::collections::BTreeMap;

use super::joins::Joins;
use crate::model::inventory::{Guest, Inventory, Mode, ServerKind};
use crate::model::snapshot::{Child, ChildKey, Netns};
use crate::model::status::Problem;
use crate::model::{Code, GuestKey, Mac};
use crate::reconcile::facts::Facts;

/// One problem for each namespace of a guest that has such links. In the host's own namespace its root wants
/// them.
pub(in crate::reconcile) fn problems(
    facts: &Facts<'_>,
    inventory: &Inventory,
    joins: &Joins,
) -> Vec<Problem> {
    let mut listeners: BTreeMap<Netns, Vec<(&ChildKey, &Child)>> = BTreeMap::new();
    for (key, child) in &facts.snapshot.children {
        if child.mode == Mode::Source && key.netns != Netns::Host {
            listeners.entry(key.netns).or_default().push((key, child));
        }
    }
    let problem = |(netns, links): (Netns, Vec<(&ChildKey, &Child)>)| {
        let guest = guest_in(facts, inventory, joins, netns);
        let &(key, first) = links.first()?;
        let others = match links.len() - 1 {
            0 => String::new(),
            1 => "; there is another such link".to_owned(),
            some => format!("; there are {some} more such links"),
        };
        let its = || guest.as_ref().is_some_and(|guest| is_nic_of(inventory, guest, first));
        let is_nic = joins.nic(key).is_some() || its();
        Some(Problem::new(
            Code::Overhears,
            guest.as_ref().map_or_else(|| netns.to_string(), ToString::to_string),
            format!("{}{others}", what(facts, joins, first)),
            cure(inventory, guest.as_ref(), netns, first, is_nic),
        ))
    };
    listeners.into_iter().filter_map(problem).collect()
}

/// The guest whose namespace this is, by one of its NICs or by its home.
fn guest_in(facts: &Facts<'_>, inventory: &Inventory, joins: &Joins, netns: Netns) -> Option<GuestKey> {
    let by_nic = joins.guests_in(netns).min().cloned();
    let lives_there = |guest: &Guest| facts.snapshot.homes.get(&guest.home) == Some(&netns);
    let by_home = || inventory.guests().filter(|(_, guest)| lives_there(guest));
    // Two may name one process for a moment, because process ids are used again.
    by_nic.or_else(|| by_home().map(|(key, _)| key).min())
}

/// One of its NICs, which its root has put into this mode before anybody knew it.
fn is_nic_of(inventory: &Inventory, key: &GuestKey, child: &Child) -> bool {
    let guests = inventory.guests().filter(|(its, _)| its == key);
    let mut nics = guests.flat_map(|(_, guest)| guest.nics.told());
    nics.any(|nic| nic.mac == Some(child.mac) || nic.link == child.name)
}

fn what(facts: &Facts<'_>, joins: &Joins, child: &Child) -> String {
    let links = &facts.snapshot.links;
    let parent = links.get(&child.parent).map_or("?", |link| link.name.as_str());
    let kind = if child.tap { "macvtap" } else { "macvlan" };
    let name = |mac: &Mac| {
        let shim = facts.shim(child.parent).filter(|shim| shim.mac == Some(*mac));
        let nic = || facts.host.children_with(*mac).find_map(|key| joins.nic(key));
        match shim {
            Some(shim) => format!("{} (the host, to its guests)", shim.name),
            None => nic().map_or_else(|| mac.to_string(), |nic| nic.to_string()),
        }
    };
    let mut senders: Vec<String> = child.sources.macs.iter().map(name).collect();
    let more = child.sources.count.saturating_sub(senders.len());
    if more > 0 {
        senders.push(format!("{more} more"));
    }
    let from = match senders.is_empty() {
        true => "the MACs that it is given, none so far".to_owned(),
        false => senders.join(", "),
    };
    let does = match (child.sources.only, child.up) {
        (true, _) => "takes away from all others, and may overhear,",
        (false, true) => "overhears",
        (false, false) => "will overhear, once it is up,",
    };
    format!(
        "its link {} is a {kind} in mode source on {parent}: it {does} all that comes from {from}",
        shown(&child.name)
    )
}

fn cure(
    inventory: &Inventory,
    guest: Option<&GuestKey>,
    netns: Netns,
    child: &Child,
    is_nic: bool,
) -> String {
    let kind = if child.tap { "macvtap" } else { "macvlan" };
    let link = &child.name;
    let deed = match is_nic {
        true => format!("ip link set {link} type {kind} mode bridge"),
        false => format!("ip link delete {link}"),
    };
    let words = match is_nic {
        true => format!("put its NIC {} back into mode bridge", shown(link)),
        false => format!("delete its link {}", shown(link)),
    };
    match guest {
        Some(guest) if [link, &guest.name, &guest.project].into_iter().all(|name| is_plain(name)) => {
            let incus =
                inventory.servers.get(&guest.server).is_some_and(|it| it.kind == Some(ServerKind::Incus));
            let client = if incus { "incus" } else { "lxc" };
            let project = match guest.project.as_str() {
                "default" => String::new(),
                project => format!(" --project {project}"),
            };
            format!("{client} exec {}{project} -- {deed}", guest.name)
        }
        Some(_) => format!("in the guest, {words}"),
        None => match netns {
            Netns::Id(id) => format!(
                "{words}, where `ip netns list-id nsid {id}` or `lsns --type net` shows that namespace"
            ),
            Netns::Host => words,
        },
    }
}

/// A name that cannot trick a shell. Root in a guest can give its links any name.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(plain)
}

fn shown(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { format!("{name:?}") }
}
