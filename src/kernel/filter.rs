//! The filters of our shims: the nftables table `netdev macvlan_shim`, which is ours by its name. It is read and
//! written through the JSON interface of `nft`, some milliseconds a call: before the routes of a NIC that has its address
//! from the first moment on, and never on the way of an address that comes later.
//!
//! A shim's filter is a set of MACs and a chain at each of the hooks ingress and egress, all named after its
//! ifindex: that of a shim which is gone never passes for that of a new one. Every rule bears the link's name as its
//! comment, by which `read` knows a filter that is whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::Fault;
use super::nft::{Nft, Refusal};
use super::wire::{Attributes, Malformed, Message, u8_at};
use crate::model::Mac;
use crate::model::names::FILTER_TABLE;
use crate::model::snapshot::{Filter, ShimFilter};

/// Before any other chain at the hook.
const PRIORITY: i32 = -500;

/// So many MACs have a limit of their own …
const MOST_ASKING: u32 = 4096;

/// … as long as they ask, and so many seconds longer, in which each has its full measure again.
const ASKED_LATELY: u32 = 10;

/// What this kernel and this `nft` can do beyond the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abilities {
    /// The hook egress (Linux 5.16).
    egress: bool,
    /// Look-ups in the routing tables at the hook ingress.
    fib: bool,
}

impl Default for Abilities {
    fn default() -> Abilities {
        Abilities { egress: true, fib: true }
    }
}

impl Abilities {
    /// In the order in which they are tried.
    const ALL: [Abilities; 4] = [
        Abilities { egress: true, fib: true },
        Abilities { egress: true, fib: false },
        Abilities { egress: false, fib: true },
        Abilities { egress: false, fib: false },
    ];

    /// What is lost, in words.
    fn lacks(self) -> Option<String> {
        let egress = "nft or the kernel (5.16 is needed) has no egress hook, so the LAN can see frames of the shim itself";
        let fib = "the kernel has no nft_fib_netdev, so a guest can send to its host from foreign addresses";
        let lacks = [(self.egress, egress), (self.fib, fib)].into_iter().filter(|(can, _)| !can);
        let lacks: Vec<&str> = lacks.map(|(_, words)| words).collect();
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }
}

/// What is remembered of the filters beside what stands.
#[derive(Debug, Default)]
pub(super) struct Filters {
    nft: Nft,
    abilities: Abilities,
    /// There may be more of them by now.
    doubted: bool,
}

impl Filters {
    /// What stands. Where there can be no filter (any more), that is what stood `before`: who takes `nft` away does not
    /// take the filters away.
    pub(super) fn read(&mut self, before: &Filter) -> Result<Filter, Fault> {
        match self.look() {
            Ok(objects) => {
                let filter =
                    |(link, objects): (u32, Vec<Object>)| (link, shim_filter(link, &objects, self.abilities));
                let shims = objects.into_iter().map(filter).collect();
                Ok(Filter { usable: true, lacks: self.abilities.lacks(), shims })
            }
            Err(Refusal::Absent(why)) => {
                Ok(Filter { usable: false, lacks: Some(why), shims: before.shims.clone() })
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Makes a shim's filter what it should be, in one transaction: where it is whole only the MACs are changed.
    pub(super) fn set(
        &mut self,
        link: u32,
        device: &str,
        macs: Option<&BTreeSet<Mac>>,
        standing: Option<&ShimFilter>,
    ) -> Result<(), Fault> {
        if let (Some(macs), Some(ShimFilter { device: of, macs: Some(before), whole: true })) =
            (macs, standing)
            && of == device
        {
            let change = |verb: &str, macs: BTreeSet<Mac>| {
                (!macs.is_empty()).then(|| json!({ verb: { "element": set_elements(link, &macs) } }))
            };
            let removed = change("delete", before - macs);
            let added = change("add", macs - before);
            return Ok(self.change(removed.into_iter().chain(added).collect())?);
        }
        let removal = if standing.is_some() { self.removal(link)? } else { Vec::new() };
        let making = |abilities| [removal.clone(), addition(link, device, macs, abilities)].concat();
        let mut result = self.change(making(self.abilities));
        if matches!(result, Err(Refusal::Lacks(_))) {
            self.abilities = self.find_abilities()?;
            result = self.change(making(self.abilities));
        }
        Ok(result?)
    }

    /// Deletes the filter of a shim; with the last one the table.
    pub(super) fn delete(&mut self, link: u32, last: bool) -> Result<(), Fault> {
        let commands = if last { vec![json!({ "delete": table() })] } else { self.removal(link)? };
        Ok(self.change(commands)?)
    }

    /// A module may have been loaded, or `nft` replaced: what was lacking is looked for again.
    pub(super) fn doubt(&mut self) {
        self.doubted = self.abilities != Abilities::default();
    }

    fn look(&mut self) -> Result<BTreeMap<u32, Vec<Object>>, Refusal> {
        if self.doubted {
            self.abilities = self.find_abilities()?;
            self.doubted = false;
        }
        self.list()
    }

    /// The most that is possible, by a trial that changes nothing; on a link that is always there, so that only what is
    /// lacking can be missing.
    fn find_abilities(&mut self) -> Result<Abilities, Refusal> {
        let mut result = Err(Refusal::Failed("nft was not asked".to_owned()));
        for abilities in Abilities::ALL {
            let trial = addition(0, "lo", Some(&BTreeSet::new()), abilities);
            result = self.run(&["-j", "-c", "-f", "-"], trial).map(|()| abilities);
            if !matches!(result, Err(Refusal::Lacks(_))) {
                break;
            }
        }
        result
    }

    /// The objects of our table, by the ifindex of their shim.
    fn list(&mut self) -> Result<BTreeMap<u32, Vec<Object>>, Refusal> {
        let listing = self.nft.run(&["-j", "list", "ruleset", "netdev"], None)?;
        let listing: Value = serde_json::from_str(&listing)
            .map_err(|error| Refusal::Failed(format!("nft printed no JSON: {error}")))?;
        let mut objects: BTreeMap<u32, Vec<Object>> = BTreeMap::new();
        for object in listing["nftables"].as_array().into_iter().flatten().filter_map(Value::as_object) {
            for (kind, object) in object.iter().filter(|(_, object)| object["table"] == FILTER_TABLE) {
                if let Some(link) = link_of(kind, object) {
                    objects.entry(link).or_default().push((kind.clone(), object.clone()));
                }
            }
        }
        Ok(objects)
    }

    /// The commands that take away what stands of a shim's filter: a set can go only when no rule names it.
    fn removal(&mut self, link: u32) -> Result<Vec<Value>, Refusal> {
        let objects = self.list()?.remove(&link).unwrap_or_default();
        let command = |verb: &str, kind: &str, object: &Value| json!({ verb: { kind: { "family": "netdev", "table": FILTER_TABLE, "name": object["name"] } } });
        let of_kind = |kind: &'static str| objects.iter().filter(move |(its, _)| its == kind);
        let chains = of_kind("chain")
            .flat_map(|(_, chain)| [command("flush", "chain", chain), command("delete", "chain", chain)]);
        let sets = of_kind("set").map(|(_, set)| command("delete", "set", set));
        Ok(chains.chain(sets).collect())
    }

    fn change(&mut self, commands: Vec<Value>) -> Result<(), Refusal> {
        if commands.is_empty() { Ok(()) } else { self.run(&["-j", "-f", "-"], commands) }
    }

    /// Runs commands in one transaction, in which our table stands.
    fn run(&mut self, arguments: &[&str], commands: Vec<Value>) -> Result<(), Refusal> {
        let commands = [vec![json!({ "add": table() })], commands].concat();
        let text = json!({ "nftables": commands }).to_string();
        self.nft.run(arguments, Some(text)).map(drop)
    }
}

/// Whether an event of nftables is about our table.
pub(super) fn concerns(message: &Message<'_>) -> Result<bool, Malformed> {
    /// `struct nfgenmsg`; its first byte is the family.
    const HEADER: usize = 4;
    const NFPROTO_NETDEV: u8 = 5;
    /// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`.
    const TABLE: u16 = 1;
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    if message.kind >> 8 != NFNL_SUBSYS_NFTABLES || u8_at(message.payload, 0)? != NFPROTO_NETDEV {
        return Ok(false);
    }
    for attribute in Attributes::after(message.payload, HEADER) {
        let (kind, value) = attribute?;
        if kind == TABLE {
            return Ok(value.strip_suffix(&[0]).unwrap_or(value) == FILTER_TABLE.as_bytes());
        }
    }
    Ok(false)
}

/// An object as `nft` shows or takes it, with its kind.
type Object = (String, Value);

/// The ifindex that an object's name, or its chain's, ends in.
fn link_of(kind: &str, object: &Value) -> Option<u32> {
    let name = object[if kind == "rule" { "chain" } else { "name" }].as_str()?;
    name.rsplit_once('-')?.1.parse().ok()
}

fn shim_filter(link: u32, objects: &[Object], abilities: Abilities) -> ShimFilter {
    let set = objects.iter().find(|(kind, object)| kind == "set" && object["name"] == guests(link));
    let macs = set.map(|(_, set)| elements(set));
    let device =
        objects.iter().find_map(|(_, object)| object["comment"].as_str()).unwrap_or_default().to_owned();
    let whole =
        outline(link, objects) == outline(link, &definition(link, &device, macs.is_some(), abilities));
    ShimFilter { device, macs, whole }
}

fn elements(set: &Value) -> BTreeSet<Mac> {
    let texts = set["elem"].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// What a listing and a definition have in common: which objects there are, and the comments of rules. How a rule
/// is shown differs from one `nft` to the next, and so does whether the set of a meter is (from 1.1.0 on).
fn outline(link: u32, objects: &[Object]) -> Vec<String> {
    let line = |(kind, object): &Object| {
        format!("{kind} {} {} {}", object["name"], object["chain"], object["comment"])
    };
    let counts = |(kind, object): &&Object| kind != "set" || object["name"] == guests(link);
    let mut lines: Vec<String> = objects.iter().filter(counts).map(line).collect();
    lines.sort();
    lines
}

/// A shim's filter as `nft` takes it, but for the MACs. Without `by_mac` frames of anybody pass, as far as the other
/// rules let them.
fn definition(link: u32, device: &str, by_mac: bool, abilities: Abilities) -> Vec<Object> {
    let mut objects = Vec::new();
    if by_mac {
        let set =
            json!({ "family": "netdev", "table": FILTER_TABLE, "name": guests(link), "type": "ether_addr" });
        objects.push(("set".to_owned(), set));
    }
    let mut chain = |hook: &str, name: String, rules: Vec<Vec<Value>>| {
        let chain = json!({
            "family": "netdev", "table": FILTER_TABLE, "name": name, "type": "filter", "hook": hook,
            "dev": device, "prio": PRIORITY, "policy": "accept",
        });
        objects.push(("chain".to_owned(), chain));
        for mut rule in rules {
            rule.push(json!({ "drop": null }));
            let rule = json!({
                "family": "netdev", "table": FILTER_TABLE, "chain": name, "expr": rule, "comment": device,
            });
            objects.push(("rule".to_owned(), rule));
        }
    };
    let strangers =
        |side: &str| by_mac.then(|| vec![unlike(field("ether", side), json!(format!("@{}", guests(link))))]);
    let mut inward: Vec<Vec<Value>> = strangers("saddr").into_iter().collect();
    inward.extend(from_guests(link, abilities));
    chain("ingress", format!("in-{link}"), inward);
    if abilities.egress {
        chain("egress", format!("out-{link}"), strangers("daddr").into_iter().collect());
    }
    objects
}

/// What no guest has to send to its host.
fn from_guests(link: u32, abilities: Abilities) -> Vec<Vec<Value>> {
    let icmpv6 = || field("icmpv6", "type");
    let mut rules = vec![vec![like(icmpv6(), json!({ "set": ["nd-router-advert", "nd-redirect"] }))]];
    // What listens on the loopback, which the host lets in where its route_localnet is on.
    for side in ["saddr", "daddr"] {
        let loopback = json!({ "prefix": { "addr": "127.0.0.0", "len": 8 } });
        rules.push(vec![like(field("ip", side), loopback)]);
    }
    // Every solicitation from an address that is not known leaves an entry in the table that all namespaces share, which
    // has room for 1024 and gives one up after five seconds at the earliest. So few for one MAC; and for all together, as
    // a guest may change its own.
    let solicits = || like(icmpv6(), json!("nd-neighbor-solicit"));
    let beyond = |rate: u32, burst: u32| json!({ "limit": { "rate": rate, "burst": burst, "per": "second", "inv": true } });
    let mac = json!({ "elem": { "val": field("ether", "saddr"), "timeout": ASKED_LATELY } });
    let meter =
        json!({ "name": format!("asking-{link}"), "size": MOST_ASKING, "key": mac, "stmt": beyond(5, 20) });
    rules.push(vec![solicits(), json!({ "meter": meter })]);
    rules.push(vec![solicits(), beyond(100, 200)]);
    if abilities.fib {
        // Only from where the way back leads through the shim, and only to the host itself.
        let no_way_back =
            like(json!({ "fib": { "result": "oif", "flags": ["saddr", "iif"] } }), json!(false));
        let link_local = json!({ "set": ["::", { "prefix": { "addr": "fe80::", "len": 10 } }] });
        rules.push(vec![unlike(field("ip", "saddr"), json!("0.0.0.0")), no_way_back.clone()]);
        rules.push(vec![unlike(field("ip6", "saddr"), link_local), no_way_back]);
        let to = json!({ "fib": { "result": "type", "flags": ["daddr"] } });
        rules.push(vec![unlike(to, json!({ "set": ["local", "broadcast", "multicast"] }))]);
    }
    rules
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

/// The commands that make a shim's filter.
fn addition(link: u32, device: &str, macs: Option<&BTreeSet<Mac>>, abilities: Abilities) -> Vec<Value> {
    let definition = definition(link, device, macs.is_some(), abilities);
    let objects = definition.into_iter().map(|(kind, object)| json!({ kind: object }));
    let macs = macs.filter(|macs| !macs.is_empty());
    let elements = macs.map(|macs| json!({ "element": set_elements(link, macs) }));
    objects.chain(elements).map(|object| json!({ "add": object })).collect()
}

/// The name of the set of a shim's guests.
fn guests(link: u32) -> String {
    format!("guests-{link}")
}

fn table() -> Value {
    json!({ "table": { "family": "netdev", "name": FILTER_TABLE } })
}

fn set_elements(link: u32, macs: &BTreeSet<Mac>) -> Value {
    let macs: Vec<String> = macs.iter().map(Mac::to_string).collect();
    json!({ "family": "netdev", "table": FILTER_TABLE, "name": guests(link), "elem": macs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_whole_with_the_set_of_its_meter_and_without_but_not_without_a_rule() {
        let mut listing = definition(5, "mvs-eth0", true, Abilities::default());
        let is_whole = |listing: &[Object]| shim_filter(5, listing, Abilities::default()).whole;
        assert!(is_whole(&listing));
        let elements = json!([{ "elem": { "val": "02:00:00:00:00:09", "timeout": 10, "expires": 4 } }]);
        let set = json!({ "table": FILTER_TABLE, "name": "asking-5", "elem": elements });
        listing.insert(0, ("set".to_owned(), set));
        assert!(is_whole(&listing));
        assert_eq!(shim_filter(5, &listing, Abilities::default()).macs, Some(BTreeSet::new()));
        let rule = listing.iter().position(|(kind, _)| kind == "rule").unwrap();
        listing.remove(rule);
        assert!(!is_whole(&listing));
    }
}
