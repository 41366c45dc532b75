//! Packets arrive between the host and its guests, and on the LAN, which notices nothing.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use anyhow::Result;

use super::must;
use crate::intent::Intent;
use crate::model::{Claim, Expected, near};
use crate::site::{GATEWAY, PEER, ROLES, STRANGER, Site, v4, v6};
use crate::truth::{Address, Guest, Truth};

/// Pings everybody who should answer. Without a LAN below the uplink nobody can be reached.
pub(crate) fn check(site: &Site, truth: &Truth, intent: &Intent, expected: &Expected) -> Result<Vec<String>> {
    if !intent.has_lan() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    check_peers_neighbours(&mut found, site, truth)?;
    let pings = hosts_pings(truth, intent, expected) + &vain_pings(truth, intent, expected);
    let unanswered = site.host.sh(&format!("{PING}{pings}wait"))?;
    found.extend(unanswered.lines().map(str::to_owned));
    site.peer.sh("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")?;
    let unanswered = site.peer.sh(&format!("{PING}{}wait", peers_pings(truth, intent)))?;
    found.extend(unanswered.lines().map(str::to_owned));
    check_hosts_mac(&mut found, site, truth, intent)?;
    Ok(found)
}

/// `p WHAT COMMAND…` reports a ping that is not answered, `n WHAT COMMAND…` one that is.
const PING: &str = "p() { w=$1; shift; \"$@\" >/dev/null 2>&1 || echo \"no answer: $w\"; }
n() { w=$1; shift; ! \"$@\" >/dev/null 2>&1 || echo \"an answer: $w\"; }\n";

/// Between the host and the guests, both ways, and from the host to the LAN. Where a guest has an address of
/// the host, the others find either of the two.
fn hosts_pings(truth: &Truth, intent: &Intent, expected: &Expected) -> String {
    let mut script = String::new();
    for route in truth.our_routes() {
        let (Some(address), Some(source)) = (route.host(), route.source) else { continue };
        let Some((guest, pid)) = holder(truth, address) else { continue };
        let impostors = owners(truth, intent, source) > 1;
        if !expected.routes.contains_key(&address) || !knows_the_way(guest, source) || impostors {
            continue;
        }
        let _ = writeln!(script, "p 'host to {address}' ping -nqc1 -W1 {address} &");
        let from_guest = format!("nsenter -t {pid} -n ping -nqc1 -W1 -I {address} {source}");
        let _ = writeln!(script, "p '{address} to host at {source}' {from_guest} &");
    }
    let routed: BTreeSet<IpAddr> = truth.our_routes().filter_map(crate::truth::Route::host).collect();
    let own: Vec<IpAddr> = hosts_own(truth, intent).collect();
    for number in [PEER, GATEWAY, STRANGER] {
        for address in [IpAddr::from(v4(number)), IpAddr::from(v6(number))] {
            let mut same = own.iter().filter(|own| own.is_ipv6() == address.is_ipv6()).peekable();
            let home = same.peek().is_some() && same.all(|own| owners(truth, intent, *own) == 1);
            if home && !routed.contains(&address) {
                let _ = writeln!(script, "p 'host to {address} on the LAN' ping -nqc1 -W1 {address} &");
            }
        }
    }
    script
}

/// Between the host and addresses of guests that it must not reach, and that nobody else has. An answer would
/// come at once.
fn vain_pings(truth: &Truth, intent: &Intent, expected: &Expected) -> String {
    let mut script = String::new();
    let refused = expected.claims.iter().filter(|claim| !claim.verdict.may_be_routed());
    for Claim { guest, address, .. } in refused {
        let machines = [PEER, GATEWAY, STRANGER].map(|number| of_family(*address, number));
        let hosts = truth.links.iter().flat_map(|link| &link.addresses).any(|own| own.local == *address);
        if hosts || machines.contains(address) || owners(truth, intent, *address) != 1 {
            continue;
        }
        let _ = writeln!(script, "n 'host to {address}' ping -nqc1 -W0.2 {address} &");
        let (Some(nic), true) = (truth.guests.get(guest), ROLES[*guest].out) else { continue };
        // Where a guest has an address of the host, the others find that guest.
        let own = hosts_own(truth, intent).filter(|own| owners(truth, intent, *own) == 1);
        for own in own.filter(|own| own.is_ipv6() == address.is_ipv6()) {
            let from_guest = format!("nsenter -t {} -n ping -nqc1 -W0.2 -I {address} {own}", nic.pid);
            let _ = writeln!(script, "n '{address} to host at {own}' {from_guest} &");
        }
    }
    script
}

/// From another machine of the LAN to the host and to the guests. Where two machines have the same address,
/// the outcome is up to them.
fn peers_pings(truth: &Truth, intent: &Intent) -> String {
    let mut addresses: BTreeSet<IpAddr> = hosts_own(truth, intent).collect();
    for guest in truth.guests.values() {
        let usable = guest.nic.addresses.iter().filter(|a| a.is_usable()).map(|a| a.local);
        addresses.extend(usable.filter(|address| knows_the_way(guest, of_family(*address, PEER))));
    }
    let others = [PEER, GATEWAY, STRANGER].map(|number| [IpAddr::from(v4(number)), IpAddr::from(v6(number))]);
    addresses.retain(|address| {
        let ours = near(*address, ["192.168.90.0/24", "fd90::/64"].iter().filter_map(|net| net.parse().ok()));
        let edge = matches!(address, IpAddr::V4(v4) if [0, 255].contains(&v4.octets()[3]));
        ours && !edge
            && !others.iter().flatten().any(|other| other == address)
            && owners(truth, intent, *address) == 1
    });
    let mut script = String::new();
    for address in addresses {
        let _ = writeln!(script, "p 'peer to {address}' ping -nqc1 -W1 {address} &");
    }
    script
}

/// Nobody on the LAN has learnt the shim's MAC for an IPv4 address. (For IPv6 a proxied advertisement may
/// name it: FACTS 21.)
fn check_peers_neighbours(found: &mut Vec<String>, site: &Site, truth: &Truth) -> Result<()> {
    let neighbours = site.peer.sh("ip -4 neigh show dev eth0")?;
    for shim in truth.shims() {
        must(found, !neighbours.contains(&shim.mac), || {
            format!("the peer has learnt the shim's MAC: {neighbours}")
        });
    }
    Ok(())
}

/// The peer has just asked again, and has the host's own MAC for the host's addresses.
fn check_hosts_mac(found: &mut Vec<String>, site: &Site, truth: &Truth, intent: &Intent) -> Result<()> {
    let Some(uplink) = truth.link(intent.uplink.name) else { return Ok(()) };
    let neighbours = site.peer.sh("ip neigh show dev eth0")?;
    for address in hosts_own(truth, intent).filter(|address| owners(truth, intent, *address) == 1) {
        let entry = neighbours.lines().find(|line| line.split(' ').next() == Some(&address.to_string()));
        let good = entry.is_none_or(|entry| !entry.contains("lladdr") || entry.contains(&uplink.mac));
        must(found, good, || format!("the peer has a wrong MAC for the host: {entry:?}, not {}", uplink.mac));
    }
    Ok(())
}

/// The guest that our neighbour entry names.
fn holder(truth: &Truth, address: IpAddr) -> Option<(&Guest, u64)> {
    let entry = truth.neighbours.iter().find(|entry| entry.is_ours() && entry.address == address)?;
    let guest = truth.guests.values().find(|guest| Some(&guest.nic.mac) == entry.mac.as_ref())?;
    Some((guest, guest.pid))
}

/// A machine's address of the same family.
fn of_family(address: IpAddr, number: u8) -> IpAddr {
    if address.is_ipv4() { v4(number).into() } else { v6(number).into() }
}

/// The guest has the other's address on-link.
fn knows_the_way(guest: &Guest, other: IpAddr) -> bool {
    near(other, guest.nic.addresses.iter().filter_map(Address::net))
}

/// The static addresses of the host on the uplink.
fn hosts_own(truth: &Truth, intent: &Intent) -> impl Iterator<Item = IpAddr> {
    let addresses = truth.link(intent.uplink.name).into_iter().flat_map(|link| &link.addresses);
    addresses.filter(|a| a.is_usable() && !a.dynamic).map(|a| a.local)
}

/// How many of the host and the guests have an address.
fn owners(truth: &Truth, intent: &Intent, address: IpAddr) -> usize {
    let guests = truth.guests.values().filter(|guest| guest.nic.addresses.iter().any(|a| a.local == address));
    guests.count() + usize::from(hosts_own(truth, intent).any(|own| own == address))
}
