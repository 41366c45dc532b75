//! The conditions of nft's JSON, asked of one packet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::fit::Fit;
use super::packet::{ANY_PORT, Content, Packet, Tracked};

/// The sets and maps of a table, by name.
pub(super) type NamedSets<'a> = BTreeMap<&'a str, &'a [Value]>;

/// A property of the packet that a condition asks for.
enum Property<'a> {
    /// It has no such property, so no condition on it fits, whatever it compares with.
    Lacking,
    /// Nobody knows.
    Unknown,
    /// One of several spellings of the same.
    Words(Vec<&'a str>),
    Number(u64),
    Address(IpAddr),
    /// Several properties at once.
    Several(Vec<Property<'a>>),
}

/// Whether a `match` fits.
pub(super) fn matches(condition: &Value, packet: &Packet<'_>, sets: &NamedSets<'_>) -> Fit {
    let property = property(&condition["left"], packet);
    if matches!(property, Property::Lacking) {
        return Fit::No;
    }
    let right = &condition["right"];
    match condition["op"].as_str() {
        Some("==" | "in") | None => is(&property, right, sets),
        Some("!=") => is(&property, right, sets).inverted(true),
        Some(order @ ("<" | ">" | "<=" | ">=")) => match (property, right.as_u64()) {
            (Property::Number(number), Some(limit)) => Fit::of(match order {
                "<" => number < limit,
                ">" => number > limit,
                "<=" => number <= limit,
                _ => number >= limit,
            }),
            _ => Fit::Perhaps,
        },
        Some(_) => Fit::Perhaps,
    }
}

/// Whether the key of a map, as in `vmap`, is this element.
pub(super) fn is_key(key: &Value, element: &Value, packet: &Packet<'_>, sets: &NamedSets<'_>) -> Fit {
    match property(key, packet) {
        Property::Lacking => Fit::No,
        property => is(&property, element, sets),
    }
}

fn property<'a>(left: &Value, packet: &Packet<'a>) -> Property<'a> {
    let Some((kind, inner)) = left.as_object().and_then(|object| object.iter().next()) else {
        return Property::Unknown;
    };
    let key = |name: &str| inner[name].as_str().unwrap_or_default();
    match kind.as_str() {
        "meta" => meta(key("key"), packet),
        "payload" => payload(key("protocol"), key("field"), packet),
        "ct" if key("key") == "state" => Property::Words(vec![packet.state()]),
        "ct" if key("key") == "status" => Property::Words(match packet.state {
            // A packet whose destination is changed does not come to the host.
            Tracked::New => Vec::new(),
            _ => vec!["seen-reply", "confirmed", "assured"],
        }),
        "fib" => fib(inner, packet),
        "concat" => {
            let parts: Vec<Property<'a>> =
                inner.as_array().into_iter().flatten().map(|part| property(part, packet)).collect();
            match parts.iter().any(|part| matches!(part, Property::Lacking)) {
                true => Property::Lacking,
                false => Property::Several(parts),
            }
        }
        // A part of a field, as in `tcp flags & (syn|ack)`: only packets with that field can fit.
        "&" | "|" | "^" | "<<" | ">>" => match inner.get(0).map(|part| property(part, packet)) {
            Some(Property::Lacking) => Property::Lacking,
            _ => Property::Unknown,
        },
        _ => Property::Unknown,
    }
}

fn meta<'a>(key: &str, packet: &Packet<'a>) -> Property<'a> {
    let link = |name: Option<&'a str>| match name {
        Some(name) => Property::Words(vec![name]),
        None => Property::Lacking,
    };
    let is_v4 = packet.destination.is_ipv4();
    match key {
        "iifname" | "iif" => link(packet.input),
        "oifname" | "oif" => link(packet.output),
        "iifgroup" => packet.group().map_or(Property::Unknown, |group| Property::Number(group.into())),
        "l4proto" if packet.is_ip() => Property::Words(packet.protocol().to_vec()),
        "nfproto" => {
            Property::Words(vec![if is_v4 { "ipv4" } else { "ipv6" }, if is_v4 { "2" } else { "10" }])
        }
        "protocol" if !packet.is_ip() => Property::Words(vec!["arp"]),
        "protocol" => Property::Words(vec![if is_v4 { "ip" } else { "ip6" }]),
        "iiftype" => Property::Words(vec!["ether"]),
        "pkttype" if packet.destination.is_multicast() => Property::Words(vec!["multicast"]),
        "pkttype" if packet.is_ip() => Property::Words(vec!["host", "unicast"]),
        _ => Property::Unknown,
    }
}

fn payload<'a>(protocol: &str, field: &str, packet: &Packet<'a>) -> Property<'a> {
    let is = |name: &str| packet.is_ip() && packet.protocol().contains(&name);
    let has = match protocol {
        "ip" => packet.is_ip() && packet.destination.is_ipv4(),
        "ip6" => packet.is_ip() && packet.destination.is_ipv6(),
        "arp" => !packet.is_ip(),
        "icmp" => is("icmp"),
        "icmpv6" => is("icmpv6"),
        "th" => is("tcp") || is("udp"),
        "tcp" | "udp" | "udplite" | "sctp" | "dccp" | "ah" | "esp" | "comp" | "igmp" => is(protocol),
        // A raw part of the packet, or a protocol that is not known here.
        _ => return Property::Unknown,
    };
    if !has {
        return Property::Lacking;
    }
    match (protocol, field) {
        ("ip" | "ip6", "saddr") => Property::Address(packet.source),
        ("ip" | "ip6", "daddr") => Property::Address(packet.destination),
        ("ip", "protocol") | ("ip6", "nexthdr") => Property::Words(packet.protocol().to_vec()),
        ("ip6", "hoplimit") if packet.content == Content::Solicitation => Property::Number(255),
        ("icmp" | "icmpv6", "type") => Property::Words(packet.icmp_type().to_vec()),
        ("tcp" | "udp" | "th", "dport") => {
            packet.port().map_or(Property::Unknown, |port| Property::Number(port.into()))
        }
        // Servers' own ports: a client that sends to the host has another.
        ("tcp" | "udp" | "th", "sport") => Property::Number(u64::from(ANY_PORT)),
        _ => Property::Unknown,
    }
}

/// A look-up of the host's routing. A guest's address is routed through the shim, and a LAN machine's through
/// the parent: the link that the packet came in through.
fn fib<'a>(inner: &Value, packet: &Packet<'a>) -> Property<'a> {
    let flags = match &inner["flags"] {
        Value::Array(flags) => flags.iter().filter_map(Value::as_str).collect(),
        Value::String(flag) => vec![flag.as_str()],
        _ => Vec::new(),
    };
    let has = |flag: &str| flags.contains(&flag);
    match inner["result"].as_str() {
        Some("type") if has("daddr") => Property::Words(vec![packet.destination_type(has("iif"))]),
        Some("type") if has("saddr") => Property::Words(vec!["unicast"]),
        Some("oif" | "oifname") if has("saddr") && packet.input.is_some() => {
            let input = packet.input.unwrap_or_default();
            Property::Words(vec![input, "true"])
        }
        _ => Property::Unknown,
    }
}

/// Whether a property has that value, or one of those.
fn is(property: &Property<'_>, value: &Value, sets: &NamedSets<'_>) -> Fit {
    if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
        return match sets.get(name) {
            Some(elements) => Fit::any(elements.iter().map(|element| is(property, element, sets))),
            None => Fit::Perhaps,
        };
    }
    if let Property::Several(parts) = property {
        return match (&value["concat"], &value["set"]) {
            (Value::Array(values), _) if values.len() == parts.len() => {
                Fit::all(parts.iter().zip(values).map(|(part, value)| is(part, value, sets)))
            }
            (_, Value::Array(values)) => Fit::any(values.iter().map(|value| is(property, value, sets))),
            _ => inner_element(value).map_or(Fit::Perhaps, |value| is(property, value, sets)),
        };
    }
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(values)) = object.get("set") {
                return Fit::any(values.iter().map(|value| is(property, value, sets)));
            }
            if let Some(element) = inner_element(value) {
                return is(property, element, sets);
            }
            in_span(property, value)
        }
        Value::Array(values) => Fit::any(values.iter().map(|value| is(property, value, sets))),
        Value::String(text) => equals(property, text),
        Value::Bool(is_true) => equals(property, if *is_true { "true" } else { "false" }),
        Value::Number(number) => equals(property, &number.to_string()),
        Value::Null => Fit::Perhaps,
    }
}

/// An element with its time or comment.
fn inner_element(value: &Value) -> Option<&Value> {
    value.get("elem").and_then(|element| element.get("val"))
}

/// A prefix or a range.
fn in_span(property: &Property<'_>, value: &Value) -> Fit {
    let prefix = &value["prefix"];
    if let (Property::Address(address), Some(of), Some(length)) =
        (property, prefix["addr"].as_str(), prefix["len"].as_u64())
    {
        let net = format!("{of}/{length}").parse::<IpNet>();
        return net.map_or(Fit::Perhaps, |net| Fit::of(net.contains(address)));
    }
    let Some([from, to]) = value["range"].as_array().map(Vec::as_slice) else { return Fit::Perhaps };
    match property {
        Property::Number(number) => match (from.as_u64(), to.as_u64()) {
            (Some(from), Some(to)) => Fit::of((from..=to).contains(number)),
            _ => Fit::Perhaps,
        },
        Property::Address(address) => {
            let end = |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            match (end(from), end(to)) {
                (Some(from), Some(to)) => Fit::of((from..=to).contains(address)),
                _ => Fit::Perhaps,
            }
        }
        _ => Fit::Perhaps,
    }
}

fn equals(property: &Property<'_>, text: &str) -> Fit {
    match property {
        Property::Words(words) => Fit::of(words.iter().any(|word| is_like(word, text))),
        Property::Number(number) => {
            text.parse::<u64>().map_or(Fit::Perhaps, |other| Fit::of(other == *number))
        }
        Property::Address(address) => {
            text.parse::<IpAddr>().map_or(Fit::Perhaps, |other| Fit::of(other == *address))
        }
        Property::Lacking => Fit::No,
        Property::Unknown | Property::Several(_) => Fit::Perhaps,
    }
}

/// Whether a name is that of a rule, which may end in a star.
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
