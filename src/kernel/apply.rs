//! An operation of a plan as orders to the kernel. "Exists already and is equal" and "gone already" are
//! success; what is not ours is neither changed nor deleted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;

use super::error::{ErrorCode, Fault, OpError};
use super::failure::{Failure, explain};
use super::filter::Sets;
use super::request::Requests;
use super::slice::Slice;
use super::{Kernel, address, link, neighbour, question, route, rule, setting};
use crate::model::names::PROTOCOL;
use crate::model::snapshot::NeighbourState;
use crate::model::{Family, LinkIndex, LinkRef, Mac, Op};

impl Kernel {
    /// Does one write. What it changed is in the snapshot after the next [`Kernel::drain`]. So is the host as it is
    /// after a failure: an op that fails was decided on something that no longer holds, and not all changes are told.
    pub fn apply(&mut self, op: &Op) -> Result<(), OpError> {
        self.perform(op).map_err(|failure| {
            self.state.marks.mark_host();
            explain(op, failure)
        })
    }

    fn perform(&mut self, op: &Op) -> Result<(), Failure> {
        let (requests, made) = (&mut self.requests, &mut self.made);
        match op {
            Op::CreateShim { shim, parent, mac, mtu } => {
                made.remove(&shim.name);
                create(requests, &shim.name, standing(parent)?, *mac, *mtu)
            }
            Op::Rename { link, name } => {
                let index = standing(link)?;
                only_ours(requests, index, &link.name)?;
                Ok(link::rename(requests, index, name)?)
            }
            Op::Mark { shim, mac } => {
                let link = index(requests, made, shim)?;
                Ok(link::mark(requests, link, *mac)?)
            }
            Op::SetMac { shim, mac } => {
                let link = index(requests, made, shim)?;
                keep_neighbours(requests, link, |requests| link::set_mac(requests, link, *mac))
            }
            Op::SetMtu { shim, mtu } => {
                let link = index(requests, made, shim)?;
                Ok(link::set_mtu(requests, link, *mtu)?)
            }
            Op::SetFlags { shim } => {
                let link = index(requests, made, shim)?;
                match shim.index {
                    Some(_) => keep_neighbours(requests, link, |requests| link::set_flags(requests, link)),
                    None => Ok(link::set_flags(requests, link)?),
                }
            }
            Op::SetFilter { shim, macs, answers } => {
                self.set_filter(shim, Sets { macs: macs.as_ref(), answers })
            }
            Op::SetUp { shim } => {
                let link = index(requests, made, shim)?;
                Ok(link::set_up(requests, link)?)
            }
            Op::Set { shim, setting, value } => {
                self.state.marks.mark(Slice::Settings);
                // The plan itself, or somebody else, may just have renamed it.
                let name = match shim.index {
                    Some(index) => link::with_index(requests, None, index)?.name,
                    None => shim.name.clone(),
                };
                if setting::write(&name, *setting, *value).map_err(Failure::File)? {
                    self.state.written(Slice::Settings);
                }
                Ok(())
            }
            Op::AddAddress { shim, address } => {
                let link = index(requests, made, shim)?;
                add_address(requests, link, *address, self.state.shows_address_protocol)
            }
            Op::AddProxy { shim, address } => {
                self.state.marks.mark(Slice::Proxies);
                let link = index(requests, made, shim)?;
                if neighbour::find(requests, link, (*address).into(), true)?.is_none() {
                    neighbour::add_proxy(requests, link, *address)?;
                    self.state.written(Slice::Proxies);
                }
                Ok(())
            }
            Op::SetNeighbour { shim, address, mac } => {
                let link = index(requests, made, shim)?;
                set_neighbour(requests, link, *address, *mac)
            }
            Op::SetRoute { shim, destination, source, table, replace } => {
                let link = index(requests, made, shim)?;
                let wanted =
                    route::Wanted { link, destination: *destination, source: *source, table: *table };
                set_route(requests, wanted, *replace)
            }
            Op::AddRule { family, priority } => add_rule(requests, *family, *priority),
            Op::Probe { link, address, disputed } => {
                let link = standing(link)?;
                if probe(requests, link, *address, *disputed)? {
                    self.state.asked(link, *address);
                }
                Ok(())
            }
            Op::DeleteRule { family, priority } => gone(rule::delete(requests, *family, *priority)),
            Op::DeleteRoute { link, destination, table, metric } => {
                gone(route::delete(requests, standing(link)?, *destination, *table, *metric))
            }
            Op::DeleteNeighbour { link, address } => {
                delete_neighbour(requests, standing(link)?, *address, false)
            }
            Op::ReleaseNeighbour { link, address } => release(requests, standing(link)?, *address),
            Op::DeleteProxy { link, address } => {
                self.state.marks.mark(Slice::Proxies);
                delete_neighbour(requests, standing(link)?, (*address).into(), true)?;
                self.state.written(Slice::Proxies);
                Ok(())
            }
            Op::DeleteAddress { link, address } => gone(address::delete(requests, standing(link)?, *address)),
            Op::DeleteShim { link } => delete_shim(requests, standing(link)?, &link.name),
            Op::DeleteFilter { link, last } => {
                self.state.marks.mark(Slice::Filter);
                self.state.filters.delete(standing(link)?, *last)?;
                self.state.written(Slice::Filter);
                Ok(())
            }
        }
    }

    fn set_filter(&mut self, shim: &LinkRef, sets: Sets<'_>) -> Result<(), Failure> {
        let link = index(&mut self.requests, &mut self.made, shim)?;
        let standing = self.state.snapshot.filter.shims.get(&link);
        self.state.marks.mark(Slice::Filter);
        self.state.filters.set(link, &shim.name, sets, standing)?;
        self.state.written(Slice::Filter);
        Ok(())
    }
}

/// The ifindex of a link that stands.
fn standing(link: &LinkRef) -> Result<LinkIndex, Failure> {
    link.index.ok_or_else(|| Failure::InTheWay(ErrorCode::Other, format!("{link} is not there")))
}

/// The ifindex of a shim, also of one that the running plan has just made: `made` spares the thousand ops that follow
/// the question.
fn index(
    requests: &mut Requests,
    made: &mut BTreeMap<String, LinkIndex>,
    shim: &LinkRef,
) -> Result<LinkIndex, Failure> {
    if let Some(index) = shim.index.or_else(|| made.get(&shim.name).copied()) {
        return Ok(index);
    }
    let seen = link::with_name(requests, &shim.name)?;
    if !seen.is_shim() {
        return Err(name_taken(&shim.name));
    }
    made.insert(shim.name.clone(), seen.index);
    Ok(seen.index)
}

fn name_taken(name: &str) -> Failure {
    Failure::InTheWay(ErrorCode::NameTaken, format!("a link named {name} exists that is not ours"))
}

fn foreign(what: String) -> Failure {
    Failure::InTheWay(ErrorCode::Exists, format!("{what} exists that is not ours"))
}

/// Deletions succeed if there is nothing (any more).
fn gone(result: Result<(), Fault>) -> Result<(), Failure> {
    match result {
        Err(Fault::Refused {
            errno: Errno::ENODEV | Errno::ESRCH | Errno::ENOENT | Errno::EADDRNOTAVAIL,
            ..
        }) => Ok(()),
        result => Ok(result?),
    }
}

fn is_there_already(result: &Result<(), Fault>) -> bool {
    matches!(result, Err(Fault::Refused { errno: Errno::EEXIST, .. }))
}

fn create(requests: &mut Requests, name: &str, parent: LinkIndex, mac: Mac, mtu: u32) -> Result<(), Failure> {
    let result = link::create(requests, name, parent, mac, mtu);
    if !is_there_already(&result) {
        result?;
        let made = link::with_name(requests, name)?;
        return Ok(link::mark(requests, made.index, mac)?);
    }
    let standing = link::with_name(requests, name)?;
    match (standing.is_shim(), standing.lower == Some(parent)) {
        (true, true) => Ok(()),
        (true, false) => {
            let message = format!("a shim named {name} exists on another parent");
            Err(Failure::InTheWay(ErrorCode::Exists, message))
        }
        (false, _) => Err(name_taken(name)),
    }
}

/// Makes a change with which the kernel drops the neighbour entries of a link (FACTS 51): of its MAC, or whether it has
/// ARP. Ours are there again before anybody asks for them.
fn keep_neighbours(
    requests: &mut Requests,
    link: LinkIndex,
    change: impl FnOnce(&mut Requests) -> Result<(), Fault>,
) -> Result<(), Failure> {
    let entries = neighbour::dump(requests)?;
    change(requests)?;
    let ours = entries.iter().filter(|((_, at), entry)| *at == link && entry.ours);
    for ((address, _), to) in ours.filter_map(|(key, entry)| Some((key, entry.mac?))) {
        set_neighbour(requests, link, *address, to)?;
    }
    Ok(())
}

fn delete_shim(requests: &mut Requests, link: LinkIndex, name: &str) -> Result<(), Failure> {
    match only_ours(requests, link, name) {
        Ok(()) => gone(link::delete(requests, link)),
        Err(Failure::Kernel(fault)) => gone(Err(fault)),
        foreign => foreign,
    }
}

/// Fails if the link is not a shim of ours (any more).
fn only_ours(requests: &mut Requests, link: LinkIndex, name: &str) -> Result<(), Failure> {
    let standing = link::with_index(requests, None, link)?;
    if standing.is_shim() {
        return Ok(());
    }
    let message = format!("link {link} is {}, not our shim {name}", standing.name);
    Err(Failure::InTheWay(ErrorCode::Exists, message))
}

/// `marked`: the kernel shows who made an address. Where it does not, all on a shim is ours.
fn add_address(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpNet,
    marked: bool,
) -> Result<(), Failure> {
    let result = address::add(requests, link, address);
    if !is_there_already(&result) {
        return Ok(result?);
    }
    let standing = address::of_link(requests, link)?;
    let standing = standing.iter().find(|seen| seen.key.address == address);
    let equal = standing.is_some_and(|seen| seen.protocol == Some(PROTOCOL) || !marked);
    if equal { Ok(()) } else { Err(foreign(format!("an address {address}"))) }
}

fn set_neighbour(requests: &mut Requests, link: LinkIndex, address: IpAddr, mac: Mac) -> Result<(), Failure> {
    let result = neighbour::set(requests, link, address, mac, false);
    if !is_there_already(&result) {
        return Ok(result?);
    }
    let standing = neighbour::find(requests, link, address, false)?;
    let permanent = standing.filter(|entry| entry.state == NeighbourState::Permanent);
    match permanent {
        Some(entry) if !entry.ours => Err(foreign(format!("a permanent neighbour entry for {address}"))),
        Some(entry) if entry.mac == Some(mac) => Ok(()),
        _ => Ok(neighbour::set(requests, link, address, mac, true)?),
    }
}

fn delete_neighbour(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    proxy: bool,
) -> Result<(), Failure> {
    match neighbour::find(requests, link, address, proxy) {
        Ok(Some(entry)) if entry.ours => gone(neighbour::delete(requests, link, address, proxy)),
        // Ours is gone; what stands in its place is not ours.
        Ok(_) => Ok(()),
        Err(fault) => gone(Err(fault)),
    }
}

fn set_route(requests: &mut Requests, wanted: route::Wanted, replace: bool) -> Result<(), Failure> {
    let result = route::set(requests, wanted, replace);
    if !is_there_already(&result) {
        return Ok(result?);
    }
    let standing = route::in_place_of(requests, wanted)?;
    let is_equal = |seen: &route::Seen| {
        seen.value.ours && seen.key.link == wanted.link && seen.value.source == wanted.source
    };
    if standing.iter().any(is_equal) {
        return Ok(());
    }
    if standing.iter().any(|seen| !seen.value.ours) {
        return Err(foreign(format!("a route to {}", wanted.destination)));
    }
    // Ours is replaced. If there is none (any more) it is not known whose would be.
    Ok(route::set(requests, wanted, !standing.is_empty())?)
}

fn add_rule(requests: &mut Requests, family: Family, priority: u32) -> Result<(), Failure> {
    let result = rule::add(requests, family, priority);
    if !is_there_already(&result) {
        return Ok(result?);
    }
    let rules = rule::dump(requests)?;
    let equal = rules.iter().any(|rule| rule.ours && rule.family == family && rule.priority == priority);
    if equal { Ok(()) } else { Err(foreign(format!("an equal rule {priority}"))) }
}

/// Says whether a question was put.
fn probe(requests: &mut Requests, link: LinkIndex, address: IpAddr, disputed: bool) -> Result<bool, Failure> {
    let entry = match neighbour::find(requests, link, address, false) {
        Ok(entry) => entry,
        Err(fault) => return gone(Err(fault)).map(|()| false),
    };
    match entry.map(|entry| entry.state) {
        // Somebody has set it by hand: nobody needs to be asked.
        Some(NeighbourState::Permanent) => return Ok(false),
        None | Some(NeighbourState::Unresolved | NeighbourState::Disputed) => {}
        // The kernel would ask the known machine alone, and tell of the old state once more.
        Some(_) => gone(neighbour::delete(requests, link, address, false))?,
    }
    question::ask(requests, link, address, disputed)?;
    Ok(true)
}

fn release(requests: &mut Requests, link: LinkIndex, address: IpAddr) -> Result<(), Failure> {
    let entry = match neighbour::find(requests, link, address, false) {
        Ok(entry) => entry.filter(|entry| entry.ours && entry.state != NeighbourState::Permanent),
        Err(fault) => return gone(Err(fault)),
    };
    match entry.map(|entry| entry.mac) {
        Some(Some(mac)) => gone(question::release(requests, link, address, mac)),
        // It has failed meanwhile.
        Some(None) => gone(neighbour::delete(requests, link, address, false)),
        None => Ok(()),
    }
}
