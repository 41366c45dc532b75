//! The objects in the kernel that bear the daemon's mark are exactly those that should exist.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::must;
use crate::ground::{Ground, metric};
use crate::intent::Intent;
use crate::model::Expected;
use crate::truth::{Link, Neighbour, Route, Truth};

pub(crate) fn check(truth: &Truth, intent: &Intent, expected: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    let ground = Ground::new(truth, intent);
    let (shims, shim) = (truth.shims().count(), truth.shim());
    must(&mut found, shims < 2 || expected.twins_allowed, || format!("there are {shims} shims"));
    must(&mut found, !expected.shim_required || shim.is_some(), || "there is no shim".to_owned());
    must(&mut found, expected.shim_allowed || shim.is_none(), || {
        "there is a shim although no guest needs it".to_owned()
    });
    if let Some(shim) = shim {
        check_shim(&mut found, truth, intent, shim);
        check_proxies(&mut found, truth, intent, &ground, shim);
        check_neighbours(&mut found, truth, shim);
    }
    for (address, wanted) in &expected.routes {
        let routed = truth.our_routes().any(|route| route.host() == Some(*address));
        must(&mut found, routed || !wanted.required, || format!("{address} is not routed"));
    }
    for route in truth.our_routes() {
        check_route(&mut found, truth, expected, &ground, shim, route);
    }
    check_rules(&mut found, truth);
    check_filter(&mut found, truth, expected, shim);
    found
}

fn check_shim(found: &mut Vec<String>, truth: &Truth, intent: &Intent, shim: &Link) {
    let (name, uplink) = (&shim.ifname, intent.uplink.name);
    let mtu = truth.link(uplink).map(|link| link.mtu);
    must(found, shim.link.as_deref() == Some(uplink), || format!("{name} is on {:?}", shim.link));
    must(found, shim.linkinfo["info_data"]["mode"] == "bridge", || format!("{name} is not in mode bridge"));
    must(found, shim.is_up(), || format!("{name} is down"));
    must(found, !shim.has("MULTICAST"), || format!("{name} is multicast"));
    must(found, !shim.has("NOARP"), || format!("{name} is without ARP"));
    must(found, Some(shim.mtu) == mtu, || format!("{name} has MTU {}, its parent {mtu:?}", shim.mtu));
    must(found, shim.addresses.is_empty(), || format!("{name} has an address: {:?}", shim.addresses));
    let ipv6 = if intent.daemon.configuration.ipv6() { "1" } else { "0" };
    let off = if intent.daemon.configuration.ipv6() { "0" } else { "1" };
    for (path, value) in [
        ("ipv4/conf/*/arp_filter", "1"),
        ("ipv4/conf/*/rp_filter", "1"),
        ("ipv4/conf/*/accept_redirects", "0"),
        ("ipv4/conf/*/send_redirects", "0"),
        ("ipv4/conf/*/accept_source_route", "0"),
        ("ipv6/conf/*/accept_ra", "0"),
        ("ipv6/conf/*/forwarding", ipv6),
        ("ipv6/conf/*/proxy_ndp", ipv6),
        ("ipv6/conf/*/disable_ipv6", off),
        ("ipv6/neigh/*/proxy_delay", "0"),
    ] {
        let path = path.replace('*', name);
        let is = truth.sysctls.get(&path);
        must(found, is.is_some_and(|is| is == value), || format!("{path} is {is:?}, not {value}"));
    }
}

fn check_proxies(found: &mut Vec<String>, truth: &Truth, intent: &Intent, ground: &Ground<'_>, shim: &Link) {
    let ipv6 = intent.daemon.configuration.ipv6();
    let wanted: BTreeSet<IpAddr> = ground.sources().filter(|source| ipv6 && source.is_ipv6()).collect();
    let ours = truth.proxies.iter().filter(|entry| entry.is_ours());
    let stand: BTreeSet<(&str, IpAddr)> = ours.map(|entry| (entry.dev.as_str(), entry.address)).collect();
    let wanted: BTreeSet<(&str, IpAddr)> =
        wanted.into_iter().map(|address| (shim.ifname.as_str(), address)).collect();
    must(found, stand == wanted, || format!("the proxy entries are {stand:?}, not {wanted:?}"));
}

/// There is exactly one for each route of ours. Those on another link are questions to the LAN, and their
/// answers.
fn check_neighbours(found: &mut Vec<String>, truth: &Truth, shim: &Link) {
    let question = |entry: &Neighbour| entry.dev != shim.ifname && !entry.is("PERMANENT");
    let entries = truth.neighbours.iter().filter(|entry| entry.is_ours() && !question(entry));
    for entry in entries {
        let Neighbour { address, dev, .. } = entry;
        let routed = truth.our_routes().any(|route| route.host() == Some(*address));
        must(found, routed && *dev == shim.ifname, || format!("neighbour {address} on {dev} is a leftover"));
        must(found, entry.is("PERMANENT"), || format!("neighbour {address} is {:?}", entry.state));
    }
}

fn check_route(
    found: &mut Vec<String>,
    truth: &Truth,
    expected: &Expected,
    ground: &Ground<'_>,
    shim: Option<&Link>,
    route: &Route,
) {
    let Some(address) = route.host() else {
        return found.push(format!("a route of ours to the range {}", route.destination));
    };
    let Some(wanted) = expected.routes.get(&address) else {
        return found.push(format!("{address} is routed and must not be"));
    };
    let (v6, shim) = (address.is_ipv6(), shim.map(|shim| shim.ifname.as_str()));
    let good = route.dev.as_deref() == shim
        && route.table() == ground.table(v6)
        && route.metric == metric(v6)
        && (v6 || route.scope.as_deref() == Some("link"))
        && route.gateway.is_none()
        && route.source.is_some_and(|source| ground.is_source(source, address));
    must(found, good, || format!("the route to {address} is wrong: {route:?}"));
    let entry = truth
        .neighbours
        .iter()
        .find(|entry| entry.is_ours() && entry.address == address && Some(entry.dev.as_str()) == shim);
    let mac = entry.and_then(|entry| entry.mac.as_ref());
    let right = mac.is_some_and(|mac| wanted.macs.contains(mac));
    must(found, right, || format!("the neighbour {address} is {mac:?}, not one of {:?}", wanted.macs));
}

/// Where foreign rules precede main and something is routed, our rule precedes them.
fn check_rules(found: &mut Vec<String>, truth: &Truth) {
    for v6 in [false, true] {
        let of_family = || truth.rules.iter().filter(move |rule| rule.v6 == v6);
        let foreign = of_family().filter(|rule| rule.precedes_main()).map(|rule| rule.priority).min();
        let routed = truth.our_routes().any(|route| route.v6 == v6);
        let ours: Vec<u32> = of_family().filter(|rule| rule.is_ours()).map(|rule| rule.priority).collect();
        let good = match foreign.filter(|_| routed) {
            Some(foreign) => matches!(ours.as_slice(), [one] if *one < foreign),
            None => ours.is_empty(),
        };
        must(found, good, || {
            format!("our rules have priorities {ours:?}, the first foreign one {foreign:?}")
        });
    }
}

/// The shim has a filter at both hooks, and no other link has one.
fn check_filter(found: &mut Vec<String>, truth: &Truth, expected: &Expected, shim: Option<&Link>) {
    let hooks: Vec<&str> =
        truth.filter.lines().map(str::trim).filter(|line| line.contains(" hook ")).collect();
    let filtered = |hook: &str, name: &str| {
        let place = format!("hook {hook} device \"{name}\" ");
        hooks.iter().any(|line| line.contains(&place))
    };
    let good = shim.is_none_or(|shim| ["ingress", "egress"].iter().all(|hook| filtered(hook, &shim.ifname)));
    let leftovers = hooks.len() > 2 * usize::from(shim.is_some()) && !expected.twins_allowed;
    must(found, good && !leftovers, || format!("the filter's hooks are {hooks:?}"));
}
