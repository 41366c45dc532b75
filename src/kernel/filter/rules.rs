//! The rules of a shim's filter: its sets, chains and rules as `nft` takes them, and their comparison with a
//! listing.
//!
//! A filter passes only packets that it understands. The kernel unwraps surprisingly much after the hook
//! (FACTS 35, 48): the second of two VLAN tags, and the extension headers and fragments of IPv6. A rule about
//! the inner packet does not match while it is wrapped. So rules about wrappings come before any rule about
//! their content. The chains nevertheless accept by default. While a filter is replaced, the new chain is
//! hooked in before its rules count, and one that drops by default would drop everything for that long (FACTS
//! 47).

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::model::names::FILTER_TABLE;
use crate::model::{LinkIndex, Mac};

/// It comes before any other chain at the hook.
const PRIORITY: i32 = -500;

/// Maximum number of MACs that have a rate limit of their own …
const MOST_ASKING: u32 = 4096;

/// … which is forgotten this many seconds after the last solicitation. By then the MAC may send a full burst
/// again.
const ASKED_LATELY: u32 = 10;

/// The abilities of this kernel and this `nft` that not all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Abilities {
    /// The hook egress (Linux 5.16).
    pub(in crate::kernel) egress: bool,
    /// Look-ups in the routing tables at the hook ingress.
    pub(in crate::kernel) fib: bool,
}

impl Default for Abilities {
    fn default() -> Abilities {
        Abilities { egress: true, fib: true }
    }
}

impl Abilities {
    /// In the order in which they are tried.
    pub(in crate::kernel) const ALL: [Abilities; 4] = [
        Abilities { egress: true, fib: true },
        Abilities { egress: true, fib: false },
        Abilities { egress: false, fib: true },
        Abilities { egress: false, fib: false },
    ];

    /// The protection that is lost, in words.
    pub(in crate::kernel) fn lacks(self) -> Option<String> {
        let egress = "nft or the kernel (5.16 is needed) has no egress hook, so the LAN can see frames of the shim itself";
        let fib = "the kernel has no nft_fib_netdev, so a guest can send to its host from foreign addresses";
        let lacks = [(self.egress, egress), (self.fib, fib)].into_iter().filter(|(can, _)| !can);
        let lacks: Vec<&str> = lacks.map(|(_, words)| words).collect();
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }
}

/// An object as `nft` shows or takes it, with its kind.
pub(in crate::kernel) type NftObject = (String, Value);

/// A chain at a hook.
struct Chain {
    name: String,
    hook: &'static str,
    /// The packets that each of its rules drops.
    rules: Vec<Vec<Value>>,
}

/// The name of the set of the MACs that pass.
pub(in crate::kernel) fn guests(link: LinkIndex) -> String {
    format!("guests-{link}")
}

/// The name of the set of the IPv4 addresses that guests may ask for.
pub(in crate::kernel) fn answers(link: LinkIndex) -> String {
    format!("answers-{link}")
}

/// The elements of a set of MACs, as `nft` takes them.
pub(in crate::kernel) fn mac_elements(macs: &BTreeSet<Mac>) -> Vec<Value> {
    macs.iter().map(|mac| json!(mac.to_string())).collect()
}

/// The elements of a set of addresses, as `nft` takes them.
pub(in crate::kernel) fn address_elements(ranges: &BTreeSet<Ipv4Net>) -> Vec<Value> {
    ranges.iter().map(address_element).collect()
}

fn address_element(range: &Ipv4Net) -> Value {
    match range.prefix_len() {
        32 => json!(range.addr().to_string()),
        length => json!({ "prefix": { "addr": range.addr().to_string(), "len": length } }),
    }
}

/// Reads an element of a set of addresses. `None` if we would not make such an element.
pub(in crate::kernel) fn address_of(element: &Value) -> Option<Ipv4Net> {
    if let Some(address) = element.as_str() {
        return Some(Ipv4Net::from(address.parse::<std::net::Ipv4Addr>().ok()?));
    }
    let prefix = element.get("prefix")?;
    let length = prefix.get("len")?.as_u64()?.try_into().ok()?;
    Ipv4Net::new(prefix.get("addr")?.as_str()?.parse().ok()?, length).ok()
}

/// A shim's filter as `nft` takes it, without the elements of its sets. Without `by_mac` frames of any MAC
/// pass if the other rules let them.
pub(in crate::kernel) fn definition(
    link: LinkIndex,
    device: &str,
    by_mac: bool,
    abilities: Abilities,
) -> Vec<NftObject> {
    let set = |mut set: Value| {
        (set["family"], set["table"]) = (json!("netdev"), json!(FILTER_TABLE));
        ("set".to_owned(), set)
    };
    let mut objects = vec![set(json!({ "name": answers(link), "type": "ipv4_addr", "flags": ["interval"] }))];
    if by_mac {
        objects.push(set(json!({ "name": guests(link), "type": "ether_addr" })));
    }
    let chains = hooked(link, by_mac, abilities, &asking(link));
    let comment = format!("{device} {}", digest(&chains));
    for Chain { name, hook, rules } in chains {
        let chain = json!({
            "family": "netdev", "table": FILTER_TABLE, "name": name, "type": "filter", "hook": hook,
            "dev": device, "prio": PRIORITY, "policy": "accept",
        });
        objects.push(("chain".to_owned(), chain));
        objects.extend(rules.iter().map(|rule| dropping(&name, rule, &comment)));
    }
    let name = model(link);
    let chain = json!({ "family": "netdev", "table": FILTER_TABLE, "name": name });
    objects.push(("chain".to_owned(), chain));
    let rules =
        hooked(link, by_mac, abilities, &asking_of_model(link)).into_iter().flat_map(|chain| chain.rules);
    objects.extend(rules.map(|rule| dropping(&name, &rule, &comment)));
    objects
}

/// The chains at the hooks. `meter`: the name of the one set that two rules cannot share.
fn hooked(link: LinkIndex, by_mac: bool, abilities: Abilities, meter: &str) -> Vec<Chain> {
    let strangers =
        |side: &str| by_mac.then(|| vec![unlike(field("ether", side), json!(format!("@{}", guests(link))))]);
    let inward = [misunderstood()].into_iter().chain(strangers("saddr"));
    let inward = inward.chain(from_guests(link, by_mac, abilities, meter)).collect();
    let outward = || [misunderstood()].into_iter().chain(strangers("daddr")).collect();
    let outward =
        abilities.egress.then(|| Chain { name: format!("out-{link}"), hook: "egress", rules: outward() });
    [Chain { name: format!("in-{link}"), hook: "ingress", rules: inward }]
        .into_iter()
        .chain(outward)
        .collect()
}

fn dropping(chain: &str, matches: &[Value], comment: &str) -> NftObject {
    let expressions: Vec<Value> = matches.iter().cloned().chain([json!({ "drop": null })]).collect();
    let rule = json!({
        "family": "netdev", "table": FILTER_TABLE, "chain": chain, "expr": expressions, "comment": comment,
    });
    ("rule".to_owned(), rule)
}

/// The device that the rules of a filter were made for: the first word of their comments.
pub(in crate::kernel) fn device(objects: &[NftObject]) -> SmolStr {
    let comment = objects.iter().find_map(|(_, object)| object["comment"].as_str());
    comment.and_then(|comment| comment.split(' ').next()).unwrap_or_default().into()
}

/// Whether a listing shows the result of [`definition`]: the same objects with the same digest, no rule that
/// was added after the last chain, and rules that equal those of the model.
pub(in crate::kernel) fn is_whole(link: LinkIndex, listing: &[NftObject], definition: &[NftObject]) -> bool {
    let handle = |object: &Value| object["handle"].as_u64();
    let chain = listing.iter().find(|(kind, object)| kind == "chain" && object["name"] == model(link));
    let last = chain.and_then(|(_, chain)| handle(chain));
    let rules = listing.iter().filter(|(kind, _)| kind == "rule").map(|(_, rule)| rule);
    let (model, mut hooked): (Vec<_>, Vec<_>) = rules.partition(|rule| rule["chain"] == model(link));
    let is_later = |rule: &&Value| handle(rule).zip(last).is_some_and(|(handle, last)| handle > last);
    // Either chain may be listed first.
    hooked.sort_by_key(|rule| rule["chain"].as_str());
    let shown = |rule: &&Value| rule["expr"].to_string().replace(&asking_of_model(link), &asking(link));
    outline(link, listing) == outline(link, definition)
        && !hooked.iter().any(is_later)
        && hooked.iter().map(shown).eq(model.iter().map(shown))
}

/// The parts that a listing and a definition have in common: the objects, and the comments of rules, which
/// identify the original rules. Versions of `nft` show rules differently, and only some (from 1.1.0 on) show
/// the set of a meter.
fn outline(link: LinkIndex, objects: &[NftObject]) -> Vec<String> {
    let line = |(kind, object): &NftObject| {
        format!("{kind} {} {} {}", object["name"], object["chain"], object["comment"])
    };
    let counts = |(kind, object): &&NftObject| {
        kind != "set" || object["name"] == guests(link) || object["name"] == answers(link)
    };
    let mut lines: Vec<String> = objects.iter().filter(counts).map(line).collect();
    lines.sort();
    lines
}

/// The name of the last chain, which is at no hook and repeats the same rules. A rule that somebody changes
/// differs from the one that `nft` shows there.
fn model(link: LinkIndex) -> String {
    format!("model-{link}")
}

/// The name of the set of the MACs that have asked lately.
fn asking(link: LinkIndex) -> String {
    format!("asking-{link}")
}

/// The name of the same set in the model.
fn asking_of_model(link: LinkIndex) -> String {
    format!("asking-model-{link}")
}

/// Eight hexadecimal digits that differ between versions of the rules.
fn digest(chains: &[Chain]) -> String {
    let chains = chains.iter().map(|Chain { name, hook, rules }| json!([name, hook, rules]));
    let digest = Sha256::digest(Value::from_iter(chains).to_string().as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Every packet that is neither IP nor ARP. At the hook this includes a packet in a second VLAN tag, which
/// the kernel unwraps later.
fn misunderstood() -> Vec<Value> {
    vec![unlike(json!({ "meta": { "key": "protocol" } }), json!({ "set": ["ip", "ip6", "arp"] }))]
}

/// The packets that no guest needs to send to its host.
fn from_guests(link: LinkIndex, by_mac: bool, abilities: Abilities, meter: &str) -> Vec<Vec<Value>> {
    let mut rules = arp(link, by_mac);
    rules.extend(ipv4());
    rules.extend(ipv6(by_mac && abilities.fib, meter));
    if abilities.fib {
        // Packets come only from addresses that are routed back through the shim, and go only to the host
        // itself.
        let no_way_back =
            like(json!({ "fib": { "result": "oif", "flags": ["saddr", "iif"] } }), json!(false));
        rules.push(vec![unlike(field("ip", "saddr"), json!("0.0.0.0")), no_way_back.clone()]);
        rules.push(vec![unlike(field("ip6", "saddr"), of_the_link()), no_way_back]);
        let to = json!({ "fib": { "result": "type", "flags": ["daddr"] } });
        rules.push(vec![unlike(to, json!({ "set": ["local", "broadcast", "multicast"] }))]);
    }
    rules
}

/// Questions are only for the addresses that the shim answers for. The kernel reads the addresses at fixed
/// places, and accepts a second hardware type (IEEE 802) as Ethernet, while `nft` looks only at Ethernet.
fn arp(link: LinkIndex, by_mac: bool) -> Vec<Vec<Value>> {
    let operation = || field("arp", "operation");
    // A shim that knows its guests asks nobody, so no answer is for it. With `all.arp_accept` each would make
    // an entry.
    let known = if by_mac { json!("request") } else { json!({ "set": ["request", "reply"] }) };
    vec![
        vec![unlike(field("arp", "htype"), json!(1))],
        vec![unlike(operation(), known)],
        vec![
            like(operation(), json!("request")),
            unlike(field("arp", "daddr ip"), json!(format!("@{}", answers(link)))),
        ],
    ]
}

/// A host that routes to 127.0.0.0/8 (`route_localnet`, as Kubernetes sets it) accepts such packets from
/// guests as well. A host that does not forward accepts redirects if `all.accept_redirects` says so.
fn ipv4() -> Vec<Vec<Value>> {
    let loopback = |side: &str| vec![like(field("ip", side), prefix("127.0.0.0", 8))];
    vec![loopback("saddr"), loopback("daddr"), vec![like(field("icmp", "type"), json!("redirect"))]]
}

/// `is_known`: every source that passes has its entry in the neighbour table, except link-local ones.
fn ipv6(is_known: bool, meter: &str) -> Vec<Vec<Value>> {
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
    vec![
        // A segment router (`seg6_enabled`) would forward the packet inside.
        vec![like(json!({ "exthdr": { "name": "rt" } }), json!(true))],
        // Behind these headers the first fragment need not show the protocol, and no rule below would match.
        vec![like(json!({ "exthdr": { "name": "frag", "field": "nexthdr" } }), json!({ "set": EXTENSIONS }))],
        // Neighbour discovery needs no extension headers.
        vec![
            unlike(next_header(), json!(ICMPV6)),
            like(icmpv6(), json!({ "range": ["nd-router-solicit", "nd-redirect"] })),
        ],
        // The host is not a client of any guest. As a proxy it counts as a router, and each router
        // solicitation leaves an entry in the neighbour table.
        vec![like(icmpv6(), json!({ "set": ["nd-router-solicit", "nd-router-advert", "nd-redirect"] }))],
        // Any guest can have any link-local address. From such an address only neighbour discovery may go to
        // the host's own addresses.
        vec![
            like(field("ip6", "saddr"), of_the_link()),
            unlike(field("ip6", "daddr"), prefix("ff00::", 8)),
            unlike(next_header(), json!(ICMPV6)),
        ],
        // Every solicitation from an unknown address leaves an entry in the table that all namespaces share.
        // It has room for 1024 and gives an entry up after five seconds at the earliest. So there is a limit
        // for each MAC, and one for all together, because a guest may have many MACs. A guest's own address
        // has its entry already. It does not count towards the limit for all, so one guest's flood does not
        // keep other guests from asking.
        vec![solicits(), json!({ "meter": meter })],
        unknown.chain([solicits(), beyond(100, 200)]).collect(),
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
