//! Nothing foreign has changed: everything that chaos put into the host's network is there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::must;
use crate::foreign::{self, NEIGHBOUR, RULES};
use crate::intent::Intent;
use crate::site::{WITNESS, v4, v6};
use crate::truth::{GROUP, Link, Truth};

/// The state of the host before anything happened.
#[derive(Debug)]
pub(crate) struct Before {
    macs: BTreeMap<String, String>,
    sysctls: BTreeMap<String, String>,
}

impl Before {
    pub(crate) fn new(truth: &Truth) -> Before {
        let links = truth.links.iter().filter(|link| link.group != GROUP);
        Before {
            macs: links.map(|link| (link.ifname.clone(), link.mac.clone())).collect(),
            sysctls: sysctls(truth, "eth0"),
        }
    }
}

pub(crate) fn check(truth: &Truth, intent: &Intent, before: &Before) -> Vec<String> {
    let mut found = Vec::new();
    check_links(&mut found, truth, intent, before);
    check_addresses(&mut found, truth, intent);
    check_routes(&mut found, truth, intent);
    check_rules(&mut found, truth, intent);
    check_neighbours(&mut found, truth, intent);
    let now = sysctls(truth, intent.uplink.name);
    for (path, value) in &before.sysctls {
        let is = now.get(path);
        must(&mut found, is == Some(value), || format!("the sysctl {path} is {is:?}, it was {value}"));
    }
    let forwarding = if intent.forwarding { "1" } else { "0" };
    for link in ["all", "default", WITNESS, intent.uplink.name] {
        let is = truth.sysctls.get(&format!("ipv6/conf/{link}/forwarding"));
        must(&mut found, is.is_some_and(|is| is == forwarding), || format!("forwarding of {link} is {is:?}"));
    }
    found
}

fn check_links(found: &mut Vec<String>, truth: &Truth, intent: &Intent, before: &Before) {
    let foreign: BTreeMap<&str, &Link> = truth
        .links
        .iter()
        .filter(|link| link.group != GROUP)
        .map(|link| (link.ifname.as_str(), link))
        .collect();
    let uplink = intent.uplink.name;
    // A guest that ends while its server is away leaves its NIC behind.
    let names: BTreeSet<&str> =
        foreign.values().filter(|link| link.kind() != "macvlan").map(|link| link.ifname.as_str()).collect();
    must(found, names == BTreeSet::from(["lo", WITNESS, uplink]), || format!("the links are {names:?}"));
    for (name, up, mtu) in
        [("lo", true, 65536), (WITNESS, true, 1500), (uplink, intent.uplink.up, intent.uplink.mtu)]
    {
        let Some(link) = foreign.get(name) else { continue };
        let mac = before.macs.get(if name == uplink { "eth0" } else { name });
        let good = link.is_up() == up
            && link.mtu == mtu
            && link.group == "default"
            && link.master.is_none()
            && link.has("MULTICAST") != (name == "lo")
            && mac.is_none_or(|mac| *mac == link.mac);
        must(found, good || (name == WITNESS && link.is_up()), || format!("{name} has changed: {link:?}"));
    }
}

fn check_addresses(found: &mut Vec<String>, truth: &Truth, intent: &Intent) {
    let uplink = &intent.uplink;
    let mut wanted: BTreeSet<String> = ["10.76.0.1/24", "fd97::1/64"].map(str::to_owned).into();
    wanted.extend(uplink.v4.map(|(number, length)| format!("{}/{length}", v4(number))));
    if uplink.up {
        wanted.extend(uplink.v6.iter().map(|number| format!("{}/64", v6(*number))));
    }
    let foreign = truth.links.iter().filter(|link| link.group != GROUP);
    let lasting = foreign.flat_map(|link| &link.addresses);
    let lasting = lasting.filter(|address| address.scope == "global" && !address.dynamic);
    let stand: BTreeSet<String> =
        lasting.map(|address| format!("{}/{}", address.local, address.prefixlen)).collect();
    must(found, stand == wanted, || format!("the host's addresses are {stand:?}, not {wanted:?}"));
}

fn check_routes(found: &mut Vec<String>, truth: &Truth, intent: &Intent) {
    let wanted: BTreeSet<foreign::Route> = foreign::routes(intent).into_iter().collect();
    let made = truth.routes.iter().filter(|route| {
        let kernels = matches!(route.protocol.as_deref(), Some("kernel" | "ra" | "redirect"));
        !kernels && !route.is_ours() && route.table() != "local"
    });
    let stand: BTreeSet<foreign::Route> = made
        .map(|route| foreign::Route {
            v6: route.v6,
            table: route.table().to_owned(),
            kind: route.kind.clone().unwrap_or_else(|| "unicast".to_owned()),
            destination: route.destination.clone(),
            gateway: route.gateway,
            link: route.dev.clone().filter(|dev| dev != "lo"),
        })
        .collect();
    for route in wanted.difference(&stand) {
        found.push(format!("a foreign route is gone: {}", foreign::words(route)));
    }
    for route in stand.difference(&wanted) {
        found.push(format!("a foreign route has come: {}", foreign::words(route)));
    }
}

fn check_rules(found: &mut Vec<String>, truth: &Truth, intent: &Intent) {
    let mut wanted: BTreeSet<(bool, u32)> =
        [(false, 0), (false, 32766), (false, 32767), (true, 0), (true, 32766)].into();
    wanted.extend(intent.rules.iter().map(|index| (RULES[*index].0, RULES[*index].1)));
    let foreign = truth.rules.iter().filter(|rule| !rule.is_ours());
    let stand: BTreeSet<(bool, u32)> = foreign.map(|rule| (rule.v6, rule.priority)).collect();
    must(found, stand == wanted, || format!("the foreign rules are {stand:?}, not {wanted:?}"));
}

fn check_neighbours(found: &mut Vec<String>, truth: &Truth, intent: &Intent) {
    let mut wanted: BTreeSet<String> = ["10.76.0.9", "fd97::9"].map(str::to_owned).into();
    if intent.uplink.up {
        wanted.insert(NEIGHBOUR.to_owned());
    }
    let lasting = truth.neighbours.iter().filter(|entry| entry.is("PERMANENT") && !entry.is_ours());
    let stand: BTreeSet<String> = lasting.map(|entry| entry.address.to_string()).collect();
    must(found, stand == wanted, || format!("the foreign neighbours are {stand:?}, not {wanted:?}"));
    let proxies = truth.proxies.iter().filter(|entry| !entry.is_ours());
    let proxies: BTreeSet<String> = proxies.map(|entry| entry.address.to_string()).collect();
    must(found, proxies == BTreeSet::from(["fd97::99".to_owned()]), || {
        format!("the foreign proxies: {proxies:?}")
    });
}

/// The sysctls of the host and of foreign links, without those that chaos and the kernel change. The uplink
/// is called `uplink`.
fn sysctls(truth: &Truth, uplink: &str) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    for (path, value) in &truth.sysctls {
        let parts: Vec<&str> = path.split('/').collect();
        let [family, folder, link, key] = parts[..] else { continue };
        if ["forwarding", "mc_forwarding", "mtu", "stable_secret"].contains(&key) {
            continue;
        }
        let link = if link == uplink { "uplink" } else { link };
        if ["all", "default", "lo", WITNESS, "uplink"].contains(&link) {
            sysctls.insert(format!("{family}/{folder}/{link}/{key}"), value.clone());
        }
    }
    sysctls
}
