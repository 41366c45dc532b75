//! The part of the host's network that is not the daemon's. Chaos puts it there, and puts it back where the
//! kernel has taken it away together with a link or an address.

use std::fmt::Write;
use std::net::IpAddr;

use crate::intent::{Intent, Uplink};
use crate::site::{GATEWAY, WITNESS, v4, v6};

/// A policy rule ahead of main: the flag of its family, its priority, and its selector.
pub(crate) const RULES: [(bool, u32, &str); 5] = [
    (false, 1000, "to 203.0.113.0/24"),
    (false, 1001, "fwmark 7"),
    (false, 1002, "from 192.168.90.11"),
    (true, 1003, "to 2001:db8::/32"),
    (true, 1004, "from fd90::11"),
];

/// The table that the rules look up.
pub(crate) const RULES_TABLE: &str = "100";

/// A foreign route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) v6: bool,
    pub(crate) table: String,
    pub(crate) kind: String,
    pub(crate) destination: String,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) link: Option<String>,
}

/// The routes that come and go.
pub(crate) const ROUTES: [Coming; 7] = [
    Coming { destination: "198.18.0.0/24", by: By::Gateway(GATEWAY) },
    Coming { destination: "198.18.1.0/24", by: By::Witness },
    Coming { destination: "fd98::/48", by: By::Gateway(GATEWAY) },
    Coming { destination: "198.18.2.0/24", by: By::Nothing },
    // The address of a guest is suddenly a next hop.
    Coming { destination: "198.18.3.0/24", by: By::Gateway(16) },
    // An off-link destination becomes on-link.
    Coming { destination: "198.51.100.0/24", by: By::Uplink },
    // In the way of ours, or in its place.
    Coming { destination: "192.168.90.15", by: By::Uplink },
];

/// The one of [`ROUTES`] that stands in the way of ours.
pub(crate) const IN_THE_WAY: usize = 6;

/// A route that comes and goes.
#[derive(Debug)]
pub(crate) struct Coming {
    pub(crate) destination: &'static str,
    by: By,
}

/// Where it leads.
#[derive(Clone, Copy, Debug)]
enum By {
    Gateway(u8),
    Uplink,
    Witness,
    Nothing,
}

impl Coming {
    /// None if it cannot exist at present.
    pub(crate) fn route(&self, uplink: &Uplink) -> Option<Route> {
        let v6 = self.destination.contains(':');
        let link = match self.by {
            By::Nothing => None,
            By::Witness => Some(WITNESS),
            By::Uplink | By::Gateway(_) if !holds_routes(uplink, v6) => return None,
            By::Uplink | By::Gateway(_) => Some(uplink.name),
        };
        Some(Route {
            v6,
            table: "main".to_owned(),
            kind: if link.is_some() { "unicast" } else { "unreachable" }.to_owned(),
            destination: self.destination.to_owned(),
            gateway: match self.by {
                By::Gateway(number) => Some(address(v6, number)),
                _ => None,
            },
            link: link.map(str::to_owned),
        })
    }
}

/// All foreign routes that should exist.
pub(crate) fn routes(intent: &Intent) -> Vec<Route> {
    let uplink = &intent.uplink;
    let unicast = |v6, table: &str, destination: &str, gateway, link: &str| Route {
        v6,
        table: table.to_owned(),
        kind: "unicast".to_owned(),
        destination: destination.to_owned(),
        gateway,
        link: Some(link.to_owned()),
    };
    let mut routes = vec![
        unicast(false, "main", "10.77.0.0/24", None, WITNESS),
        unicast(true, "main", "fd96::/48", None, WITNESS),
    ];
    if holds_routes(uplink, false) {
        let gateway = Some(address(false, GATEWAY));
        routes.extend([
            unicast(false, "main", "default", gateway, uplink.name),
            unicast(false, RULES_TABLE, "default", gateway, uplink.name),
            unicast(false, RULES_TABLE, "192.168.90.0/24", None, uplink.name),
        ]);
    }
    if holds_routes(uplink, true) {
        let gateway = Some(address(true, GATEWAY));
        routes.extend([
            unicast(true, "main", "fd99::/48", gateway, uplink.name),
            unicast(true, RULES_TABLE, "fd90::/64", None, uplink.name),
        ]);
    }
    routes.extend(intent.routes.iter().filter_map(|index| ROUTES[*index].route(uplink)));
    routes
}

/// A script that makes the witness and everything on it, once.
pub(crate) fn witness() -> String {
    format!(
        "ip link add {WITNESS} address 02:77:00:00:00:01 type bridge; ip link set {WITNESS} up\n\
         ip addr add 10.76.0.1/24 dev {WITNESS}; ip addr add fd97::1/64 dev {WITNESS} nodad\n\
         ip neigh add 10.76.0.9 lladdr 02:77:00:00:00:09 dev {WITNESS} nud permanent\n\
         ip neigh add fd97::9 lladdr 02:77:00:00:00:09 dev {WITNESS} nud permanent\n\
         ip neigh add proxy fd97::99 dev {WITNESS}\n\
         cd /proc/sys/net; echo 1 >ipv6/conf/{WITNESS}/proxy_ndp; echo 2 >ipv4/conf/{WITNESS}/rp_filter\n"
    )
}

/// A script that puts back missing objects. It may run at any time.
pub(crate) fn restore(intent: &Intent) -> String {
    let uplink = &intent.uplink;
    let up = uplink.name;
    let mut script = String::new();
    if let Some((number, length)) = uplink.v4 {
        let _ = writeln!(script, "ip addr replace {}/{length} dev {up}", v4(number));
    }
    if uplink.up {
        for number in &uplink.v6 {
            let _ = writeln!(script, "ip addr replace {}/64 dev {up} nodad", v6(*number));
        }
        let _ =
            writeln!(script, "ip neigh replace {NEIGHBOUR} lladdr 02:77:00:00:00:08 dev {up} nud permanent",);
    }
    for route in routes(intent) {
        let _ = writeln!(script, "ip {}route replace {}", family(route.v6), words(&route));
    }
    for index in &intent.rules {
        let (v6, priority, selects) = RULES[*index];
        let ip = family(v6);
        let _ = writeln!(
            script,
            "ip {ip}rule | grep '^{priority}:.*lookup {RULES_TABLE}' >/dev/null || ip {ip}rule add pref {priority} {selects} lookup {RULES_TABLE}"
        );
    }
    script
}

/// A script for a link that the kernel has just made, or given IPv6 again: it sets the sysctls that the lab
/// gave it.
pub(crate) fn settle(link: &str) -> String {
    let conf = format!("/proc/sys/net/ipv6/conf/{link}");
    format!("echo 0 >{conf}/dad_transmits; echo 0 >{conf}/router_solicitation_delay\n")
}

/// A permanent neighbour of the uplink at an address that nobody has.
pub(crate) const NEIGHBOUR: &str = "192.168.90.10";

/// The route as `ip route` takes it. Its gateway may be out of sight.
pub(crate) fn words(route: &Route) -> String {
    let Route { kind, destination, table, .. } = route;
    let gateway = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    let onlink = if route.gateway.is_some() { " onlink" } else { "" };
    let link = route.link.as_ref().map(|link| format!(" dev {link}")).unwrap_or_default();
    format!("{kind} {destination}{gateway}{link}{onlink} table {table}")
}

pub(crate) fn family(v6: bool) -> &'static str {
    if v6 { "-6 " } else { "" }
}

/// The kernel drops the routes of a link that is down, and the IPv4 routes of a link that has no IPv4
/// address.
fn holds_routes(uplink: &Uplink, v6: bool) -> bool {
    uplink.up && (v6 || uplink.v4.is_some())
}

fn address(v6: bool, number: u8) -> IpAddr {
    if v6 { crate::site::v6(number).into() } else { v4(number).into() }
}
