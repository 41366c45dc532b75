//! The NICs and other things that somebody asks about.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{chain, elsewhere};
use crate::model::explanation::{Explanation, Sought};
use crate::model::snapshot::ChildKey;
use crate::model::{GuestKey, LinkIndex, Mac, NicKey, text};
use crate::report::material::Material;

/// Maximum number of things that one answer explains. A name may be that of a guest in each of many projects.
const MOST: usize = 64;

/// An explanation for each of the first of them, and the number of the others. None if nothing is known by
/// that name or MAC.
pub(super) fn find(material: &Material<'_>, sought: &Sought) -> (Vec<Explanation>, usize) {
    let mut things = match sought {
        Sought::Name(name) => named(material, name),
        Sought::Address(address) => with_address(material, *address),
        Sought::Mac(mac) => with_mac(material, *mac),
    };
    let more = things.len().saturating_sub(MOST);
    things.truncate(MOST);
    let explained = things.into_iter().map(|thing| match thing {
        Thing::Nic(nic) => chain::explanation(material, nic, only(sought)),
        Thing::Guest(guest) => elsewhere::without_nic(&guest),
        Thing::Child(child) => match only(sought) {
            Some(address) => elsewhere::on_child(material, child, address),
            None => elsewhere::stranger(material, child),
        },
        Thing::Link(link) => elsewhere::of_link(material, link),
        Thing::Address(address) => elsewhere::of_address(material, address),
    });
    (explained.collect(), more)
}

/// A thing that can be explained.
enum Thing {
    Nic(NicKey),
    /// A guest of which no NIC is known.
    Guest(GuestKey),
    /// A child of nobody who is known.
    Child(ChildKey),
    /// A link of the host.
    Link(LinkIndex),
    /// An address of no child.
    Address(IpAddr),
}

fn only(sought: &Sought) -> Option<IpAddr> {
    if let Sought::Address(address) = sought { Some(*address) } else { None }
}

/// The known name that is most like this one.
pub(super) fn similar(material: &Material<'_>, name: &str) -> Option<String> {
    let keys: Vec<GuestKey> = material.inventory.guests().map(|(key, _)| key).collect();
    let known: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    text::closest(name, &known).map(str::to_owned)
}

/// Every NIC of the guests of that name.
fn named(material: &Material<'_>, name: &str) -> Vec<Thing> {
    let is_called = |key: &GuestKey| GuestKey::is_called(&key.to_string(), name);
    let decisions = &material.desired.decisions;
    let nics: Vec<&NicKey> = decisions.keys().filter(|nic| is_called(&nic.guest)).collect();
    let guests = material.inventory.guests().map(|(key, _)| key).filter(is_called);
    let bare = guests.filter(|key| !nics.iter().any(|nic| nic.guest == *key));
    let bare: Vec<Thing> = bare.map(Thing::Guest).collect();
    nics.iter().map(|nic| Thing::Nic((*nic).clone())).chain(bare).collect()
}

fn with_address(material: &Material<'_>, address: IpAddr) -> Vec<Thing> {
    let has = |key: &ChildKey| {
        let child = material.snapshot.children.get(key);
        child.is_some_and(|child| child.addresses.keys().any(|its| its.addr() == address))
    };
    let children: Vec<ChildKey> = material.snapshot.children.keys().copied().filter(has).collect();
    let (nics, others) = owners(material, &children);
    let owners: Vec<Thing> =
        nics.into_iter().map(Thing::Nic).chain(others.into_iter().map(Thing::Child)).collect();
    if owners.is_empty() { vec![Thing::Address(address)] } else { owners }
}

fn with_mac(material: &Material<'_>, mac: Mac) -> Vec<Thing> {
    let children: Vec<ChildKey> = material.desired.host.children_with(mac).copied().collect();
    let (mut nics, others) = owners(material, &children);
    for (key, guest) in material.inventory.guests() {
        let told = guest.nics.told().iter().filter(|nic| nic.mac == Some(mac));
        nics.extend(told.map(|nic| NicKey { guest: key.clone(), nic: nic.name.clone() }));
    }
    let links = material.snapshot.links.values().filter(|link| link.mac == Some(mac));
    let links = links.map(|link| Thing::Link(link.index));
    nics.into_iter().map(Thing::Nic).chain(others.into_iter().map(Thing::Child)).chain(links).collect()
}

/// The NICs that children belong to, and the children that belong to none.
fn owners(material: &Material<'_>, children: &[ChildKey]) -> (BTreeSet<NicKey>, Vec<ChildKey>) {
    let joined = |child: &ChildKey| material.memory.joins.joined(child).map(|joined| joined.nic.clone());
    let others = children.iter().copied().filter(|child| joined(child).is_none()).collect();
    (children.iter().filter_map(joined).collect(), others)
}
