//! Addresses and MACs that are no guest's, or no known guest's.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{chain, guest};
use crate::model::explanation::{ChainStep, Cure, Explanation, StepName, StepState};
use crate::model::snapshot::{ChildKey, Link, NeighbourState};
use crate::model::{GuestKey, LinkIndex};
use crate::report::material::Material;

/// Something that is not a NIC of a known guest.
fn thing(
    subject: impl ToString,
    verdict: String,
    reached: Option<bool>,
    steps: Vec<ChainStep>,
) -> Explanation {
    Explanation { subject: subject.to_string(), verdict, reached, steps, ..Explanation::default() }
}

/// A guest whose NICs no server lists, and of which the kernel shows none.
pub(super) fn without_nic(guest: &GuestKey) -> Explanation {
    let verdict = format!("{guest}: the kernel shows no macvlan link of it");
    Explanation { guest: Some(guest.clone()), ..thing(guest, verdict, None, Vec::new()) }
}

/// An address that no child has.
pub(super) fn of_address(material: &Material<'_>, address: IpAddr) -> Explanation {
    Explanation { address: Some(address), ..nobodys(material, address) }
}

fn nobodys(material: &Material<'_>, address: IpAddr) -> Explanation {
    let name = |link| material.snapshot.links.get(&link).map_or("?", |link: &Link| link.name.as_str());
    let own = material.snapshot.addresses.keys().find(|key| key.address.addr() == address);
    if let Some(key) = own {
        let shim = material.desired.shims.get(&key.link).filter(|shim| shim.link.index.is_some());
        let guests = match shim {
            Some(shim) => format!("; guests on it reach this host at it through {}", shim.link.name),
            None => String::new(),
        };
        let verdict = format!("{address} is this host's own address on {}{guests}", name(key.link));
        return thing(address, verdict, None, Vec::new());
    }
    let mut shims = material.desired.shims.values();
    let range = shims.find_map(|shim| {
        let range = shim.ranges.keys().find(|range| range.contains(&address))?;
        Some((shim, range))
    });
    if let Some((shim, range)) = range {
        let verdict = format!("{address} is in {range}, which [[parent]] {} has in routes", shim.parent);
        return thing(address, verdict, None, vec![unasked_route()]);
    }
    let verdict = format!("{address}: no guest has it now");
    thing(address, verdict, Some(false), vec![place(material, address), unasked_route()])
}

/// The network that an address of nobody would be in, and the machine that has it there.
fn place(material: &Material<'_>, address: IpAddr) -> ChainStep {
    let facts = material.facts();
    let networks = material.snapshot.links.values().flat_map(|link| {
        let networks = facts.networks(link).filter(|net| net.contains(&address));
        networks.map(move |net| (net.prefix_len(), net, link))
    });
    let Some((_, network, link)) = networks.max_by_key(|(length, ..)| *length) else {
        return ChainStep::new(StepName::Address, StepState::Unknown, "it is in no network of this host");
    };
    let sentence = format!("it is in {network} of {}", link.name);
    let step = ChainStep::new(StepName::Address, StepState::Unknown, sentence);
    let entry = material.snapshot.neighbours.get(&(address, link.index));
    let machine = entry.and_then(|entry| Some((entry.mac?, entry.state)));
    match machine {
        Some((mac, NeighbourState::Reachable)) => {
            step.evidence(format!("the machine at {mac} answers for it on {}", link.name))
        }
        Some((mac, _)) => step.evidence(format!("the machine at {mac} had it on {}", link.name)),
        None => step,
    }
}

/// The way of the kernel, which the command asks for.
fn unasked_route() -> ChainStep {
    ChainStep::new(StepName::Route, StepState::Unknown, "this host's routing was not asked")
}

/// An address of a child that no server vouches for.
pub(super) fn on_child(material: &Material<'_>, key: ChildKey, address: IpAddr) -> Explanation {
    let holder = material.desired.held.holders.get(&address);
    let Some(holder) = holder.filter(|holder| holder.child == key && holder.nic.is_none()) else {
        return stranger_at(material, key, address.to_string(), Some(address));
    };
    let sentence = format!("no server that answers vouches for the link with {}", holder.mac);
    let server = ChainStep::new(StepName::Server, StepState::Warning, sentence)
        .evidence("its route stays until a server says otherwise or the link is gone".to_owned());
    let steps = vec![server, child_step(material, key)];
    let admitted = ChainStep::good(StepName::Address, format!("{address} is held, as unclaimed"));
    let passage = material.passage(holder.parent, holder.mac);
    let blocked = passage.blocked().or_else(|| passage.unready());
    let parent =
        blocked.map(|(code, message)| ChainStep::new(StepName::Parent, StepState::Bad, message).reason(code));
    let steps: Vec<ChainStep> = steps.into_iter().chain(parent).collect();
    let guest = guest::step(None, holder.source);
    let explained = chain::admitted(&passage, (address, holder.source), admitted, &steps, guest);
    Explanation {
        subject: format!("{address} (unclaimed, {})", holder.mac),
        address: Some(address),
        steps,
        addresses: vec![explained],
        ..Explanation::default()
    }
}

/// A child that no server vouches for.
pub(super) fn stranger(material: &Material<'_>, key: ChildKey) -> Explanation {
    let mac = material.snapshot.children.get(&key).map(|child| child.mac.to_string());
    stranger_at(material, key, mac.unwrap_or_default(), None)
}

fn stranger_at(
    material: &Material<'_>,
    key: ChildKey,
    subject: String,
    address: Option<IpAddr>,
) -> Explanation {
    let sentence = "no server that answers lists this link; Docker and Podman make such";
    let mut server = ChainStep::new(StepName::Server, StepState::Warning, sentence);
    let parent = material.snapshot.children.get(&key).map(|child| child.parent);
    let parent = parent.and_then(|parent| material.snapshot.links.get(&parent));
    if let (Some(address), Some(parent)) = (address, parent) {
        let cure = Cure::of(format!(
            "to reach it, name its range in the configuration: [[parent]] name = \"{}\", routes = [\"{}\"]",
            parent.name,
            IpNet::from(address)
        ));
        server = server.cure(cure);
    }
    let verdict = format!("{subject} belongs to a link that no server vouches for, so it is not served");
    Explanation { address, ..thing(subject, verdict, Some(false), vec![server, child_step(material, key)]) }
}

fn child_step(material: &Material<'_>, key: ChildKey) -> ChainStep {
    let Some(child) = material.snapshot.children.get(&key) else {
        return ChainStep::new(StepName::Child, StepState::Unknown, "the kernel no longer shows it");
    };
    let parent = material.snapshot.links.get(&child.parent).map_or("?", |link| link.name.as_str());
    let place = format!("{} on {parent} in {}", child.name, key.netns);
    ChainStep::good(StepName::Child, format!("{place}: {}, mode {}", child.mac, child.mode))
}

/// A link of the host: a shim, or another.
pub(super) fn of_link(material: &Material<'_>, index: LinkIndex) -> Explanation {
    let name = |index| material.snapshot.links.get(&index).map_or("?", |link: &Link| link.name.as_str());
    let link = material.snapshot.links.get(&index);
    let subject = link.and_then(|link| link.mac).map(|mac| mac.to_string()).unwrap_or_default();
    let verdict = match link.and_then(Link::shim_parent) {
        Some(LinkIndex::NONE) => format!("{subject} is {}, a shim of ours without a parent", name(index)),
        Some(parent) => format!("{subject} is {}, our shim on {}", name(index), name(parent)),
        None => format!("{subject} is {}, a link of this host", name(index)),
    };
    thing(subject, verdict, None, Vec::new())
}
