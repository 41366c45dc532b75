//! The commands that let in what is blocked.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{HookedAt, RuleProgram, Stop};
use super::entrance::{Blocked, Entrance};
use super::packet::{ANY_PORT, Content};
use crate::model::Family;

/// The program that keeps the rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Manager {
    /// firewalld, which has the parent in this zone.
    Firewalld {
        zone: String,
    },
    Ufw,
    /// Nobody, or somebody unknown.
    None,
}

/// The commands, the fewest that do. If the firewall passes everything from the LAN, everything may come in from
/// guests; else exactly what may come in from the LAN.
pub(super) fn commands(entrance: &Entrance, blocked: &[Blocked], manager: &Manager) -> Vec<String> {
    let mut places: BTreeMap<(u8, String, String), (&Stop, Vec<&Blocked>)> = BTreeMap::new();
    for one in blocked {
        let Some(stop) = one.fate.stop() else { continue };
        let key = (stop.program as u8, format!("{} {}", stop.family, stop.table), stop.base.clone());
        places.entry(key).or_insert_with(|| (stop, Vec::new())).1.push(one);
    }
    let mut commands: Vec<String> = Vec::new();
    for (stop, blocked) in places.into_values() {
        for command in at(entrance, stop, &blocked, manager) {
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    commands
}

fn at(entrance: &Entrance, stop: &Stop, blocked: &[&Blocked], manager: &Manager) -> Vec<String> {
    let shim = &entrance.shim;
    let is_in = matches!(stop.hook, HookedAt::Prerouting | HookedAt::Input);
    let all = blocked.iter().any(|one| one.content == Content::Tcp(ANY_PORT) || one.is_answer);
    if let (true, "firewalld", Manager::Firewalld { zone }) = (is_in, &*stop.table, manager) {
        return vec![
            format!("firewall-cmd --permanent --zone={zone} --change-interface={shim}"),
            "firewall-cmd --reload".to_owned(),
        ];
    }
    let what: Vec<Content> = match all {
        true => Vec::new(),
        false => blocked.iter().map(|one| one.content).collect::<BTreeSet<_>>().into_iter().collect(),
    };
    // ufw has no rule of its own for pings.
    let is_ufw = *manager == Manager::Ufw && stop.program != RuleProgram::Nft;
    if is_ufw && is_in && !what.contains(&Content::Echo) {
        return if all { vec![format!("ufw allow in on {shim}")] } else { of_ufw(shim, &what) };
    }
    match stop.program {
        RuleProgram::Nft => {
            let link = if is_in { "iifname" } else { "oifname" };
            let rule = |what: &str| {
                let Stop { family, table, base, .. } = stop;
                format!("nft insert rule {family} {table} {base} {link} \"mvs-*\" {what}accept")
            };
            if all { vec![rule("")] } else { of_nft(&what).iter().map(|what| rule(what)).collect() }
        }
        RuleProgram::Iptables | RuleProgram::Ip6tables => {
            let program = match stop.program {
                RuleProgram::Ip6tables => "ip6tables",
                _ => "iptables",
            };
            let table = match stop.table.as_str() {
                "filter" => String::new(),
                table => format!("-t {table} "),
            };
            let link = if is_in { "-i" } else { "-o" };
            let rule = |what: &str| format!("{program} {table}-I {} {link} mvs-+ {what}-j ACCEPT", stop.base);
            let family = if stop.program == RuleProgram::Iptables { Family::V4 } else { Family::V6 };
            if all {
                vec![rule("")]
            } else {
                of_iptables(&what, family).iter().map(|what| rule(what)).collect()
            }
        }
    }
}

fn of_ufw(shim: &str, what: &[Content]) -> Vec<String> {
    let of = |protocol: &str, ports: Vec<String>| {
        let rule = format!("ufw allow in on {shim} to any port {} proto {protocol}", ports.join(","));
        (!ports.is_empty()).then_some(rule)
    };
    [of("tcp", ports(what, tcp)), of("udp", ports(what, udp))].into_iter().flatten().collect()
}

fn ports(what: &[Content], port_of: impl Fn(Content) -> Option<u16>) -> Vec<String> {
    what.iter().filter_map(|content| port_of(*content)).map(|port| port.to_string()).collect()
}

fn tcp(content: Content) -> Option<u16> {
    if let Content::Tcp(port) = content { Some(port) } else { None }
}

fn udp(content: Content) -> Option<u16> {
    if let Content::Udp(port) = content { Some(port) } else { None }
}

fn of_nft(what: &[Content]) -> Vec<String> {
    let mut conditions = Vec::new();
    if what.contains(&Content::ArpRequest) {
        conditions.push(String::new());
    }
    if what.contains(&Content::Solicitation) {
        conditions.push("icmpv6 type nd-neighbor-solicit ".to_owned());
    }
    if what.contains(&Content::Echo) {
        conditions.push("meta l4proto { icmp, ipv6-icmp } ".to_owned());
    }
    for (protocol, ports) in [("tcp", ports(what, tcp)), ("udp", ports(what, udp))] {
        match ports.as_slice() {
            [] => {}
            [port] => conditions.push(format!("{protocol} dport {port} ")),
            ports => conditions.push(format!("{protocol} dport {{ {} }} ", ports.join(", "))),
        }
    }
    conditions
}

fn of_iptables(what: &[Content], family: Family) -> Vec<String> {
    let mut conditions = Vec::new();
    if what.contains(&Content::Solicitation) {
        conditions.push("-p ipv6-icmp --icmpv6-type neighbour-solicitation ".to_owned());
    }
    if what.contains(&Content::Echo) {
        let (protocol, option) = match family {
            Family::V4 => ("icmp", "--icmp-type"),
            Family::V6 => ("ipv6-icmp", "--icmpv6-type"),
        };
        conditions.push(format!("-p {protocol} {option} echo-request "));
    }
    for (protocol, ports) in [("tcp", ports(what, tcp)), ("udp", ports(what, udp))] {
        match ports.as_slice() {
            [] => {}
            [port] => conditions.push(format!("-p {protocol} --dport {port} ")),
            ports => {
                conditions.push(format!("-p {protocol} -m multiport --dports {} ", ports.join(",")));
            }
        }
    }
    conditions
}
