//! The requests that an operation takes, so that "exists already and is equal" and "gone already" are
//! success, and foreign objects are neither changed nor deleted.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;

use super::failure::WriteError;
use crate::kernel::object::{address, link, neighbour, question, route, rule};
use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::model::names::PROTOCOL;
use crate::model::snapshot::NeighbourState;
use crate::model::{Code, Family, LinkIndex, Mac};

/// A foreign link has the name of a shim.
pub(super) fn name_taken(name: &str) -> WriteError {
    WriteError::InTheWay(Code::NameTaken, format!("a foreign link named {name} exists"))
}

fn foreign(what: String) -> WriteError {
    WriteError::InTheWay(Code::Exists, format!("{what} exists and is not ours"))
}

/// Deletions succeed if there is nothing (any more).
pub(super) fn gone(result: Result<(), RequestError>) -> Result<(), WriteError> {
    match result {
        Err(RequestError::Refused {
            errno: Errno::ENODEV | Errno::ESRCH | Errno::ENOENT | Errno::EADDRNOTAVAIL,
            ..
        }) => Ok(()),
        result => Ok(result?),
    }
}

fn is_there_already(result: &Result<(), RequestError>) -> bool {
    matches!(result, Err(RequestError::Refused { errno: Errno::EEXIST, .. }))
}

/// Makes a shim, or leaves an equal one.
pub(super) fn create(
    requests: &mut Requests,
    name: &str,
    parent: LinkIndex,
    mac: Mac,
    mtu: u32,
) -> Result<(), WriteError> {
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
            Err(WriteError::InTheWay(Code::Exists, message))
        }
        (false, _) => Err(name_taken(name)),
    }
}

/// Makes a change that drops the neighbour entries of a link (FACTS 51): of its MAC, or of its ARP flag. Ours
/// are back before anybody asks for them.
pub(super) fn keep_neighbours(
    requests: &mut Requests,
    link: LinkIndex,
    change: impl FnOnce(&mut Requests) -> Result<(), RequestError>,
) -> Result<(), WriteError> {
    let entries = neighbour::dump(requests)?.kept;
    change(requests)?;
    let ours = entries.iter().filter(|((_, at), entry)| *at == link && entry.ours);
    for ((address, _), to) in ours.filter_map(|(key, entry)| Some((key, entry.mac?))) {
        set_neighbour(requests, link, *address, to)?;
    }
    Ok(())
}

/// Deletes a shim.
pub(super) fn delete_shim(requests: &mut Requests, link: LinkIndex, name: &str) -> Result<(), WriteError> {
    match only_ours(requests, link, name) {
        Ok(()) => gone(link::delete(requests, link)),
        Err(WriteError::Kernel(error)) => gone(Err(error)),
        foreign => foreign,
    }
}

/// Fails if the link is not a shim of ours (any more).
pub(super) fn only_ours(requests: &mut Requests, link: LinkIndex, name: &str) -> Result<(), WriteError> {
    let standing = link::with_index(requests, None, link)?;
    if standing.is_shim() {
        return Ok(());
    }
    let message = format!("link {link} is {}, not our shim {name}", standing.name);
    Err(WriteError::InTheWay(Code::Exists, message))
}

/// Adds an address of ours. `marked`: the kernel shows the protocol of an address. If it does not, every
/// address on a shim is ours.
pub(super) fn add_address(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpNet,
    marked: bool,
) -> Result<(), WriteError> {
    let result = address::add(requests, link, address);
    if !is_there_already(&result) {
        return Ok(result?);
    }
    let standing = address::of_link(requests, link)?;
    let standing = standing.iter().find(|seen| seen.key.address == address);
    let equal = standing.is_some_and(|seen| seen.protocol == Some(PROTOCOL) || !marked);
    if equal { Ok(()) } else { Err(foreign(format!("an address {address}"))) }
}

/// Makes or changes a neighbour entry of ours.
pub(super) fn set_neighbour(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    mac: Mac,
) -> Result<(), WriteError> {
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

/// Deletes a neighbour entry of ours.
pub(super) fn delete_neighbour(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    proxy: bool,
) -> Result<(), WriteError> {
    match neighbour::find(requests, link, address, proxy) {
        Ok(Some(entry)) if entry.ours => gone(neighbour::delete(requests, link, address, proxy)),
        // Ours is gone, and the entry in its place is not ours.
        Ok(_) => Ok(()),
        Err(error) => gone(Err(error)),
    }
}

/// Makes or changes a route of ours.
pub(super) fn set_route(
    requests: &mut Requests,
    wanted: route::WantedRoute,
    replace: bool,
) -> Result<(), WriteError> {
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
    // Ours is replaced. If there is none (any more), a foreign one might be.
    Ok(route::set(requests, wanted, !standing.is_empty())?)
}

/// Adds a policy rule.
pub(super) fn add_rule(requests: &mut Requests, family: Family, priority: u32) -> Result<(), WriteError> {
    let result = rule::add(requests, family, priority);
    if !is_there_already(&result) {
        return Ok(result?);
    }
    let rules = rule::dump(requests)?;
    let equal = rules.iter().any(|rule| rule.ours && rule.family == family && rule.priority == priority);
    if equal { Ok(()) } else { Err(foreign(format!("an equal rule {priority}"))) }
}

/// Asks the LAN who has an address. Returns whether a question was sent.
pub(super) fn ask(
    requests: &mut Requests,
    link: LinkIndex,
    address: IpAddr,
    disputed: bool,
) -> Result<bool, WriteError> {
    let entry = match neighbour::find(requests, link, address, false) {
        Ok(entry) => entry,
        Err(error) => return gone(Err(error)).map(|()| false),
    };
    match entry.map(|entry| entry.state) {
        // Somebody has set it by hand, so nobody needs to be asked.
        Some(NeighbourState::Permanent) => return Ok(false),
        None | Some(NeighbourState::Unresolved | NeighbourState::Disputed) => {}
        // The kernel would ask only the known machine, and report the old state once more.
        Some(_) => gone(neighbour::delete(requests, link, address, false))?,
    }
    question::ask(requests, link, address, disputed)?;
    Ok(true)
}

/// Hands the entry of a question back to the kernel.
pub(super) fn release(requests: &mut Requests, link: LinkIndex, address: IpAddr) -> Result<(), WriteError> {
    let entry = match neighbour::find(requests, link, address, false) {
        Ok(entry) => entry.filter(|entry| entry.ours && entry.state != NeighbourState::Permanent),
        Err(error) => return gone(Err(error)),
    };
    match entry.map(|entry| entry.mac) {
        Some(Some(mac)) => gone(question::release(requests, link, address, mac)),
        // The question has failed meanwhile.
        Some(None) => gone(neighbour::delete(requests, link, address, false)),
        None => Ok(()),
    }
}
