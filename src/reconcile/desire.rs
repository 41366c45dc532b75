//! What should exist, each object with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::admit::{Reason, Verdict, admit};
use super::ground::{Facts, Ground};
use super::join::{Joins, join};
use super::select::left_out;
use super::shim::{self, Obstacle};
use crate::config::Config;
use crate::model::inventory::{Guest, GuestKind, Inventory, Mode, Nic, NicParent, OptOut, Power};
use crate::model::names::shim_name;
use crate::model::snapshot::{Child, ChildKey, Link, NeighbourState, Setting};
use crate::model::status::Problem;
use crate::model::{GuestKey, Mac, NicKey, ShimRef, Snapshot};

/// What this process remembers beside the kernel's state. Losing it costs time, never correctness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Which child is which NIC.
    pub joins: Joins,
    /// MACs with which the kernel let no shim go up, because somebody that we cannot see has them.
    pub refused_macs: BTreeSet<Mac>,
}

/// Everything that should exist, and every decision on the way there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// By the parent's ifindex.
    pub shims: BTreeMap<u32, Shim>,
    /// The rules that must stand: for IPv4 and IPv6, the priority of each.
    pub rules: BTreeMap<bool, u32>,
    /// Addresses that the LAN has to be asked for: the parent's ifindex and name, the address.
    pub probes: BTreeSet<(u32, String, IpAddr)>,
    /// The decision on every macvlan NIC.
    pub decisions: BTreeMap<NicKey, Decision>,
    /// The served NICs, by their child.
    pub served: BTreeMap<ChildKey, NicKey>,
    /// Why a child's address is refused: by parent, address and the child's MAC.
    pub refused: BTreeMap<(u32, IpAddr, Mac), Reason>,
    /// False while servers are still to be read: then no shim is surplus.
    pub settled: bool,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The host's facts that all this stands on.
    pub facts: Facts,
}

/// A shim that should stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Shim {
    /// Its name, and its ifindex if it stands.
    pub shim: ShimRef,
    /// The parent's name.
    pub parent: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Why it should stand.
    pub why: String,
    /// Why it cannot, if it cannot.
    pub obstacle: Option<Obstacle>,
    /// Its sysctls.
    pub settings: Vec<(Setting, i64)>,
    /// Its own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// The host's addresses that it answers for.
    pub proxies: BTreeSet<Ipv6Addr>,
    /// The guests' addresses.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// The configured ranges, with their preferred source.
    pub ranges: BTreeMap<IpNet, Option<IpAddr>>,
    /// The tables for IPv4 and IPv6 routes.
    pub tables: [u32; 2],
    /// The MACs of the guests that use it; the filter lets these pass.
    pub macs: BTreeSet<Mac>,
}

/// A guest's address that should be routed.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The guest's MAC.
    pub mac: Mac,
    /// The preferred source.
    pub source: IpAddr,
    /// The NIC; `None` if no server vouches for it (`unclaimed`).
    pub nic: Option<NicKey>,
}

/// The decision on one NIC.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The guest does not run.
    Stopped,
    /// It is left out: a stable code and a sentence.
    Unselected(&'static str, String),
    /// We cannot serve it: a stable code and a sentence.
    Unsupported(&'static str, String),
    /// It is ours to serve, but the kernel does not show it.
    Unseen(String),
    /// It is served.
    Served {
        /// Where the kernel shows it.
        child: ChildKey,
        /// The parent's ifindex, by the kernel's word.
        parent: u32,
        /// Its MAC, by the kernel's word.
        mac: Mac,
        /// The verdicts on its addresses.
        addresses: BTreeMap<IpAddr, Verdict>,
    },
}

/// Decides. `memory` is what the last call left, updated to what the next one needs.
pub fn desire(config: &Config, inventory: &Inventory, snapshot: &Snapshot, memory: &mut Memory) -> Desired {
    let facts = Facts::gather(config, snapshot, &memory.refused_macs);
    let ground = Ground { snapshot, config, facts: &facts };
    memory.joins = join(&ground, inventory, &memory.joins);
    let mut desired = Desired { settled: inventory.settled(), ..Desired::default() };
    for (key, guest) in inventory.guests() {
        if let OptOut::Invalid(value) = &guest.opt {
            desired.problems.push(Problem {
                code: "invalid-opt-out".to_owned(),
                object: key.to_string(),
                message: format!(
                    "user.macvlan-shim.enabled is {value:?}, neither true nor false; the guest takes part"
                ),
                hint: "set it to true or false, or unset it".to_owned(),
            });
        }
        for nic in &guest.nics {
            let nic_key = NicKey { guest: key.clone(), nic: nic.name.clone() };
            let decision = decide(&ground, guest, nic, memory.joins.get(&nic_key));
            if let Decision::Served { child, .. } = &decision {
                desired.served.insert(*child, nic_key.clone());
            }
            desired.decisions.insert(nic_key, decision);
        }
    }
    let mut unclaimed = unclaimed(&ground, inventory, &memory.joins);
    settle_claims(&ground, &mut desired.decisions, &mut unclaimed);
    place_shims(&ground, inventory, &mut desired, &unclaimed, &memory.refused_macs);
    for ipv6 in [false, true] {
        let table_used = desired.shims.values().filter(|shim| shim.obstacle.is_none()).any(|shim| {
            let hosts = shim.hosts.keys().any(|address| address.is_ipv6() == ipv6);
            hosts || shim.ranges.keys().any(|range| range.addr().is_ipv6() == ipv6)
        });
        if let (true, Some(priority)) = (table_used, ground.rule(ipv6)) {
            desired.rules.insert(ipv6, priority);
        }
    }
    desired.problems.sort();
    desired.problems.dedup();
    desired.facts = facts;
    desired
}

fn decide(ground: &Ground<'_>, guest: &Guest, nic: &Nic, child: Option<&ChildKey>) -> Decision {
    if guest.power == Power::Stopped {
        return Decision::Stopped;
    }
    if let Some((code, message)) = left_out(&ground.config.select, guest) {
        return Decision::Unselected(code, message);
    }
    if guest.kind == GuestKind::VirtualMachine {
        let message = "a VM's addresses cannot be seen from the host; virtual machines are not served yet";
        return Decision::Unsupported("vm", message.to_owned());
    }
    let seen = child.and_then(|key| Some((*key, ground.snapshot.children.get(key)?)));
    let mode = seen.map_or(nic.mode, |(_, child)| child.mode);
    if mode != Mode::Bridge {
        let message = format!("its macvlan mode is {mode}; only mode bridge can reach the host");
        return Decision::Unsupported("mode", message);
    }
    match (seen, &nic.parent) {
        (Some((key, child)), _) => Decision::Served {
            child: key,
            parent: child.parent,
            mac: child.mac,
            addresses: verdicts(ground, child),
        },
        (None, NicParent::Unknown(why)) => Decision::Unseen(why.clone()),
        (None, NicParent::Link { name, vlan }) => Decision::Unseen(match ground.resolve(name, *vlan) {
            None => format!("its parent {} does not exist on this host", nic.parent),
            Some(_) => format!("the kernel shows no macvlan link of it on {}", nic.parent),
        }),
    }
}

/// The verdicts on a child's addresses by the rules that concern it alone, and its limit.
pub(super) fn verdicts(ground: &Ground<'_>, child: &Child) -> BTreeMap<IpAddr, Verdict> {
    let Some(parent) = ground.snapshot.links.get(&child.parent) else { return BTreeMap::new() };
    let mut verdicts: BTreeMap<IpAddr, Verdict> = BTreeMap::new();
    for (address, state) in &child.addresses {
        verdicts.insert(address.addr(), admit(ground, parent, child.mac, *address, *state));
    }
    let max = ground.config.policy.max_addresses;
    let mut admitted: Vec<IpAddr> =
        verdicts.iter().filter(|(_, verdict)| verdict.source().is_some()).map(|(ip, _)| *ip).collect();
    admitted.sort_by_key(|ip| (!ground.holds(child.parent, child.mac, *ip), *ip));
    for ip in admitted.into_iter().skip(max) {
        let message = format!("this NIC has {max} addresses routed already (policy.max_addresses)");
        verdicts.insert(ip, Verdict::refused(Reason::Limit, message));
    }
    verdicts
}

/// A standing route whose guest the kernel still shows, though no server vouches for it.
struct Unclaimed {
    parent: u32,
    address: IpAddr,
    mac: Mac,
    verdict: Verdict,
}

fn unclaimed(ground: &Ground<'_>, inventory: &Inventory, joins: &Joins) -> Vec<Unclaimed> {
    let owned: BTreeSet<Mac> =
        inventory.guests().flat_map(|(_, guest)| guest.nics.iter().filter_map(|nic| nic.mac)).collect();
    let joined: BTreeSet<&ChildKey> = joins.values().collect();
    let mut found = Vec::new();
    for (key, child) in &ground.snapshot.children {
        if owned.contains(&child.mac) || joined.contains(key) || child.mode != Mode::Bridge || child.tap {
            continue;
        }
        for (address, verdict) in verdicts(ground, child) {
            if ground.holds(child.parent, child.mac, address) {
                found.push(Unclaimed { parent: child.parent, address, mac: child.mac, verdict });
            }
        }
    }
    found
}

/// Where several NICs claim an address, one holds it and the others are refused. The holder is the one that our
/// neighbour entry names: there where it is now, else on another parent. Where there is no holder yet, it is the
/// first in the order of keys. Where no shim can stand nobody can hold anything.
fn settle_claims(
    ground: &Ground<'_>,
    decisions: &mut BTreeMap<NicKey, Decision>,
    unclaimed: &mut [Unclaimed],
) {
    let served = |decision: &Decision| match decision {
        Decision::Served { parent, .. } => Some(*parent),
        _ => None,
    };
    let parents: BTreeSet<u32> = decisions.values().filter_map(served).collect();
    let blocked = |parent: &u32| {
        let link = ground.snapshot.links.get(parent);
        link.is_none_or(|link| shim::obstacle(ground, link, &parents).is_some())
    };
    let blocked: BTreeSet<u32> = parents.iter().copied().filter(blocked).collect();
    let mut claims: BTreeMap<IpAddr, BTreeSet<Claim>> = BTreeMap::new();
    let mut claim = |address: IpAddr, parent: u32, mac: Mac, nic: Option<&NicKey>| {
        let claim = Claim {
            blocked: blocked.contains(&parent),
            holds_not_here: !ground.holds(parent, mac, address),
            holds_nowhere: !ground.holds_anywhere(mac, address),
            unclaimed: nic.is_none(),
            nic: nic.cloned(),
            parent,
            mac,
        };
        claims.entry(address).or_default().insert(claim);
    };
    for (key, decision) in decisions.iter() {
        let Decision::Served { parent, mac, addresses, .. } = decision else { continue };
        for (address, _) in addresses.iter().filter(|(_, verdict)| verdict.source().is_some()) {
            claim(*address, *parent, *mac, Some(key));
        }
    }
    for one in unclaimed.iter().filter(|one| one.verdict.source().is_some()) {
        claim(one.address, one.parent, one.mac, None);
    }
    for (address, claims) in claims {
        let mut claims = claims.into_iter();
        let Some(winner) = claims.next() else { continue };
        let by = winner.nic.map_or_else(|| winner.mac.to_string(), |nic| nic.to_string());
        let refusal = Verdict::refused(Reason::Held, format!("{by} holds {address}"));
        for loser in claims {
            let decision = loser.nic.and_then(|nic| decisions.get_mut(&nic));
            if let Some(Decision::Served { addresses, .. }) = decision {
                addresses.insert(address, refusal.clone());
            } else {
                let same = |one: &&mut Unclaimed| {
                    (one.address, one.parent, one.mac) == (address, loser.parent, loser.mac)
                };
                unclaimed.iter_mut().filter(same).for_each(|one| one.verdict = refusal.clone());
            }
        }
    }
}

/// One NIC's claim to an address; the best sorts first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    blocked: bool,
    holds_not_here: bool,
    holds_nowhere: bool,
    unclaimed: bool,
    nic: Option<NicKey>,
    parent: u32,
    mac: Mac,
}

/// Makes the shims that the decisions ask for, and puts every admitted address upon its shim.
fn place_shims(
    ground: &Ground<'_>,
    inventory: &Inventory,
    desired: &mut Desired,
    unclaimed: &[Unclaimed],
    refused_macs: &BTreeSet<Mac>,
) {
    let mut shims: BTreeMap<u32, Shim> = BTreeMap::new();
    let wanted = wanted_parents(ground, inventory, desired, unclaimed);
    let parents: BTreeSet<u32> = wanted.keys().copied().collect();
    for (parent, why) in wanted {
        if let Some(link) = ground.snapshot.links.get(&parent) {
            let obstacle = shim::obstacle(ground, link, &parents);
            shims.insert(parent, new_shim(ground, link, why, obstacle, refused_macs));
        }
    }
    let claimed = desired.decisions.iter().filter_map(|(key, decision)| match decision {
        Decision::Served { parent, mac, addresses, .. } => {
            Some((Some(key), *parent, *mac, addresses.clone()))
        }
        _ => None,
    });
    let standing = unclaimed
        .iter()
        .map(|one| (None, one.parent, one.mac, BTreeMap::from([(one.address, one.verdict.clone())])));
    for (key, parent, mac, addresses) in claimed.chain(standing) {
        for (address, verdict) in &addresses {
            if let Verdict::Refused(refusal) = verdict {
                desired.refused.insert((parent, *address, mac), refusal.reason);
                if refusal.reason == Reason::RouteTaken {
                    desired.problems.extend(ground.route_in_the_way(IpNet::from(*address)));
                }
            }
        }
        let Some(shim) = shims.get_mut(&parent) else { continue };
        shim.macs.insert(mac);
        for (address, verdict) in addresses {
            match verdict {
                Verdict::Admitted { source } => {
                    shim.hosts.insert(address, Host { mac, source, nic: key.cloned() });
                }
                Verdict::Refused(refusal) => {
                    let ask = refusal.reason == Reason::HeldOnLan && shim.obstacle.is_none();
                    if ask && is_stale(ground, parent, address) {
                        desired.probes.insert((parent, shim.parent.clone(), address));
                    }
                }
            }
        }
    }
    // A destination leads through one shim. Where a guest is known to be goes before a range of one address.
    let standing = shims.values().filter(|shim| shim.obstacle.is_none());
    let hosts = standing.flat_map(|shim| shim.hosts.keys().copied().map(IpNet::from));
    let hosts: BTreeSet<IpNet> = hosts.collect();
    for shim in shims.values_mut() {
        shim.ranges.retain(|range, _| !hosts.contains(range));
        desired.problems.extend(shim.ranges.keys().filter_map(|range| ground.route_in_the_way(*range)));
        shim.ranges.retain(|range, _| ground.route_in_the_way(*range).is_none());
        if let Some(obstacle) = &shim.obstacle {
            desired.problems.push(Problem {
                code: obstacle.code.to_owned(),
                object: shim.parent.clone(),
                message: obstacle.message.clone(),
                hint: obstacle.hint.clone(),
            });
        }
    }
    desired.shims = shims;
}

fn is_stale(ground: &Ground<'_>, parent: u32, address: IpAddr) -> bool {
    let entry = ground.snapshot.neighbours.get(&(parent, address));
    entry.is_some_and(|entry| entry.state == NeighbourState::Stale)
}

/// The parents on which a shim should stand, each with the reason.
fn wanted_parents(
    ground: &Ground<'_>,
    inventory: &Inventory,
    desired: &mut Desired,
    unclaimed: &[Unclaimed],
) -> BTreeMap<u32, String> {
    let mut wanted: BTreeMap<u32, String> = BTreeMap::new();
    for (key, decision) in &desired.decisions {
        if let Decision::Served { parent, .. } = decision {
            wanted.entry(*parent).or_insert_with(|| format!("{key} is on it"));
        }
    }
    for one in unclaimed.iter().filter(|one| one.verdict.source().is_some()) {
        wanted.entry(one.parent).or_insert_with(|| format!("{} still has {}", one.mac, one.address));
    }
    if !desired.settled {
        for (parent, link) in ground.shims() {
            wanted
                .entry(parent)
                .or_insert_with(|| format!("{} stands, and a server is still to be read", link.name));
        }
    }
    let general_keep = ground.config.shim.keep;
    let guests: BTreeMap<GuestKey, &Guest> = inventory.guests().filter(|_| general_keep).collect();
    for (key, guest) in guests {
        if left_out(&ground.config.select, guest).is_some() || guest.kind == GuestKind::VirtualMachine {
            continue;
        }
        for nic in guest.nics.iter().filter(|nic| nic.mode == Mode::Bridge) {
            let NicParent::Link { name, vlan } = &nic.parent else { continue };
            if let Some(link) = ground.resolve(name, *vlan) {
                wanted.entry(link.index).or_insert_with(|| format!("[shim] keep, and {key} uses it"));
            }
        }
    }
    for (name, parent) in &ground.config.parents {
        match ground.resolve(name, None) {
            Some(link) if parent.keep.unwrap_or(general_keep) => {
                wanted.entry(link.index).or_insert_with(|| format!("[[parent]] {name} keep"));
            }
            Some(_) => {}
            None => desired.problems.push(Problem {
                code: "parent-absent".to_owned(),
                object: name.clone(),
                message: format!(
                    "the configuration has [[parent]] name = {name:?}, and there is no such interface"
                ),
                hint: "correct the name, or wait until the interface appears: it is then taken up at once"
                    .to_owned(),
            }),
        }
    }
    let never: BTreeSet<u32> = (ground.config.parents.iter())
        .filter(|(_, parent)| parent.keep == Some(false))
        .filter_map(|(name, _)| Some(ground.resolve(name, None)?.index))
        .collect();
    wanted.retain(|parent, why| !(why.starts_with("[shim] keep") && never.contains(parent)));
    wanted
}

fn new_shim(
    ground: &Ground<'_>,
    parent: &Link,
    why: String,
    obstacle: Option<Obstacle>,
    refused_macs: &BTreeSet<Mac>,
) -> Shim {
    let standing = ground.shim(parent.index);
    let name = standing.map_or_else(|| shim_name(&parent.name), |link| link.name.clone());
    let mac = standing.and_then(|link| link.mac).unwrap_or_else(|| shim::mac(ground, parent, refused_macs));
    let proxies = ground.host_addresses(parent.index).filter_map(|address| match address {
        IpAddr::V6(address) if ground.ipv6() => Some(address),
        _ => None,
    });
    let ranges =
        ground.config.parents.get(&parent.name).map(|parent| parent.routes.as_slice()).unwrap_or_default();
    let ranges = ranges.iter().filter(|range| ground.ipv6() || range.addr().is_ipv4());
    Shim {
        shim: ShimRef { name, index: standing.map(|link| link.index) },
        parent: parent.name.clone(),
        mac,
        mtu: parent.mtu,
        why,
        obstacle,
        settings: shim::settings(ground),
        addresses: ground.own_addresses(&parent.name).collect(),
        proxies: proxies.collect(),
        hosts: BTreeMap::new(),
        ranges: ranges.map(|range| (*range, ground.source(parent, range.addr()))).collect(),
        tables: [ground.table(false), ground.table(true)],
        macs: BTreeSet::new(),
    }
}
