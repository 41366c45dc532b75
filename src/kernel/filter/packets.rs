//! The packets that a shim's filter drops.
//!
//! A filter passes only packets that it understands. The kernel unwraps surprisingly much after the hook
//! (FACTS 35, 48): the second of two VLAN tags, and the extension headers and fragments of IPv6. A rule about
//! the inner packet does not match while it is wrapped. So rules about wrappings come before any rule about
//! their content.

use serde_json::{Value, json};

use super::abilities::Abilities;
use super::sets::{answers, guests};
use crate::model::LinkIndex;

/// Maximum number of MACs that have a rate limit of their own …
const MOST_ASKING: u32 = 4096;

/// … which is forgotten this many seconds after the last solicitation. By then the MAC may send a full burst
/// again.
const ASKED_LATELY: u32 = 10;

/// A rule that drops packets.
pub(super) struct DropRule {
    /// Its kind, which is part of the contract: metrics count by it.
    pub(super) kind: &'static str,
    /// The packets that it drops.
    pub(super) matches: Vec<Value>,
}

fn rule(kind: &'static str, matches: impl Into<Vec<Value>>) -> DropRule {
    DropRule { kind, matches: matches.into() }
}

/// The packets from or to a MAC that is not served. `side`: `saddr` or `daddr`.
pub(super) fn strangers(link: LinkIndex, side: &str) -> DropRule {
    rule("unserved-mac", [unlike(field("ether", side), json!(format!("@{}", guests(link))))])
}

/// Every packet that is neither IP nor ARP. At the hook this includes a packet in a second VLAN tag, which
/// the kernel unwraps later.
pub(super) fn misunderstood() -> DropRule {
    let understood = json!({ "set": ["ip", "ip6", "arp"] });
    rule("neither-ip-nor-arp", [unlike(json!({ "meta": { "key": "protocol" } }), understood)])
}

/// The packets that no guest needs to send to its host.
pub(super) fn from_guests(link: LinkIndex, by_mac: bool, abilities: Abilities, meter: &str) -> Vec<DropRule> {
    let mut rules = arp(link, by_mac);
    rules.extend(ipv4());
    rules.extend(ipv6(by_mac && abilities.fib, meter));
    if abilities.fib {
        // Packets come only from addresses that are routed back through the shim, and go only to the host
        // itself.
        let no_way_back =
            like(json!({ "fib": { "result": "oif", "flags": ["saddr", "iif"] } }), json!(false));
        let spoofed = |matches: [Value; 2]| rule("spoofed-source", matches);
        rules.push(spoofed([unlike(field("ip", "saddr"), json!("0.0.0.0")), no_way_back.clone()]));
        rules.push(spoofed([unlike(field("ip6", "saddr"), of_the_link()), no_way_back]));
        let to = json!({ "fib": { "result": "type", "flags": ["daddr"] } });
        let here = json!({ "set": ["local", "broadcast", "multicast"] });
        rules.push(rule("not-for-this-host", [unlike(to, here)]));
    }
    rules
}

/// Questions are only for the addresses that the shim answers for. The kernel reads the addresses at fixed
/// places, and accepts a second hardware type (IEEE 802) as Ethernet, while `nft` looks only at Ethernet.
fn arp(link: LinkIndex, by_mac: bool) -> Vec<DropRule> {
    let operation = || field("arp", "operation");
    // A shim that knows its guests asks nobody, so no answer is for it. With `all.arp_accept` each would make
    // an entry.
    let known = if by_mac { json!("request") } else { json!({ "set": ["request", "reply"] }) };
    let answers = json!(format!("@{}", answers(link)));
    let matches = [
        vec![unlike(field("arp", "htype"), json!(1))],
        vec![unlike(operation(), known)],
        vec![like(operation(), json!("request")), unlike(field("arp", "daddr ip"), answers)],
    ];
    matches.map(|matches| rule("arp", matches)).into()
}

/// A host that routes to 127.0.0.0/8 (`route_localnet`, as Kubernetes sets it) accepts such packets from
/// guests as well. A host that does not forward accepts redirects if `all.accept_redirects` says so.
fn ipv4() -> [DropRule; 3] {
    let loopback = |side: &str| rule("loopback", [like(field("ip", side), prefix("127.0.0.0", 8))]);
    let redirect = like(field("icmp", "type"), json!("redirect"));
    [loopback("saddr"), loopback("daddr"), rule("redirect", [redirect])]
}

/// `is_known`: every source that passes has its entry in the neighbour table, except link-local ones.
fn ipv6(is_known: bool, meter: &str) -> [DropRule; 7] {
    /// Hop-by-hop options, routing, fragment, destination options, mobility, HIP, shim6.
    const EXTENSIONS: [u8; 7] = [0, 43, 44, 60, 135, 139, 140];
    const ICMPV6: u8 = 58;
    let icmpv6 = || field("icmpv6", "type");
    let next_header = || field("ip6", "nexthdr");
    let solicits = || like(icmpv6(), json!("nd-neighbor-solicit"));
    let beyond = |rate: u32, burst: u32| json!({ "limit": { "rate": rate, "burst": burst, "per": "second", "inv": true } });
    let mac = json!({ "elem": { "val": field("ether", "saddr"), "timeout": ASKED_LATELY } });
    let meter = json!({ "name": meter, "size": MOST_ASKING, "key": mac, "stmt": beyond(5, 20) });
    let unknown = is_known.then(|| like(field("ip6", "saddr"), of_the_link())).into_iter();
    let fragment = json!({ "exthdr": { "name": "frag", "field": "nexthdr" } });
    let discovery = json!({ "range": ["nd-router-solicit", "nd-redirect"] });
    let of_routers = json!({ "set": ["nd-router-solicit", "nd-router-advert", "nd-redirect"] });
    [
        // A segment router (`seg6_enabled`) would forward the packet inside.
        rule("routing-header", [like(json!({ "exthdr": { "name": "rt" } }), json!(true))]),
        // Behind these headers the first fragment need not show the protocol, and no rule below would match.
        rule("extension-header", [like(fragment, json!({ "set": EXTENSIONS }))]),
        // Neighbour discovery needs no extension headers.
        rule("extension-header", [unlike(next_header(), json!(ICMPV6)), like(icmpv6(), discovery)]),
        // The host is not a client of any guest. As a proxy it counts as a router, and each router
        // solicitation leaves an entry in the neighbour table.
        rule("router-message", [like(icmpv6(), of_routers)]),
        // Any guest can have any link-local address. From such an address only neighbour discovery may go to
        // the host's own addresses.
        rule(
            "link-local-source",
            [
                like(field("ip6", "saddr"), of_the_link()),
                unlike(field("ip6", "daddr"), prefix("ff00::", 8)),
                unlike(next_header(), json!(ICMPV6)),
            ],
        ),
        // Every solicitation from an unknown address leaves an entry in the table that all namespaces share.
        // It has room for 1024 and gives an entry up after five seconds at the earliest. So there is a limit
        // for each MAC, and one for all together, because a guest may have many MACs. A guest's own address
        // has its entry already. It does not count towards the limit for all, so one guest's flood does not
        // keep other guests from asking.
        rule("solicitation-flood", [solicits(), json!({ "meter": meter })]),
        rule("solicitation-flood", unknown.chain([solicits(), beyond(100, 200)]).collect::<Vec<_>>()),
    ]
}

/// The source addresses that the routing tables have no way back to.
fn of_the_link() -> Value {
    json!({ "set": ["::", prefix("fe80::", 10)] })
}

fn prefix(address: &str, length: u8) -> Value {
    json!({ "prefix": { "addr": address, "len": length } })
}

fn field(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

fn like(left: Value, right: Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

fn unlike(left: Value, right: Value) -> Value {
    json!({ "match": { "op": "!=", "left": left, "right": right } })
}
