//! The rules of a shim's filter: its sets, chains and rules as `nft` takes them, and their comparison with a
//! listing.
//!
//! The chains accept by default. While a filter is replaced, the new chain is hooked in before its rules count,
//! and one that drops by default would drop everything for that long (FACTS 47).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::abilities::Abilities;
use super::packets::{DropRule, from_guests, misunderstood, strangers};
use super::sets::{answers, guests};
use crate::model::LinkIndex;
use crate::model::dropped::DroppedPackets;
use crate::model::names::FILTER_TABLE;

/// It comes before any other chain at the hook.
const PRIORITY: i32 = -500;

/// An object as `nft` shows or takes it, with its kind.
pub(in crate::kernel) type NftObject = (String, Value);

/// A chain at a hook.
struct Chain {
    name: String,
    hook: &'static str,
    rules: Vec<DropRule>,
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
    let strangers = |side: &str| by_mac.then(|| strangers(link, side));
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

fn dropping(chain: &str, DropRule { kind, matches }: &DropRule, comment: &str) -> NftObject {
    let end = [json!({ "counter": null }), json!({ "drop": null })];
    let expressions: Vec<Value> = matches.iter().cloned().chain(end).collect();
    let rule = json!({
        "family": "netdev", "table": FILTER_TABLE, "chain": chain, "expr": expressions,
        "comment": format!("{comment} {kind}"),
    });
    ("rule".to_owned(), rule)
}

/// The packets that each kind of rule at a hook has dropped, in a listing of a shim's filter.
pub(in crate::kernel) fn dropped(link: LinkIndex, listing: &[NftObject]) -> Vec<DroppedPackets> {
    let mut dropped: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let rules = listing.iter().filter(|(kind, object)| kind == "rule" && object["chain"] != model(link));
    for (_, rule) in rules {
        let direction = rule["chain"].as_str().and_then(|chain| chain.split('-').next());
        let kind = rule["comment"].as_str().and_then(|comment| comment.split(' ').nth(2));
        let counter = rule["expr"].as_array().into_iter().flatten().find_map(|part| part.get("counter"));
        let packets = counter.and_then(|counter| counter["packets"].as_u64());
        if let (Some(direction), Some(kind), Some(packets)) = (direction, kind, packets) {
            *dropped.entry((direction, kind)).or_default() += packets;
        }
    }
    let dropped = dropped.into_iter().map(|((direction, rule), packets)| DroppedPackets {
        link,
        direction: direction.into(),
        rule: rule.into(),
        packets,
    });
    dropped.collect()
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
    let shown = |rule: &&Value| {
        let parts = rule["expr"].as_array().into_iter().flatten();
        let parts = parts.filter(|part| part.get("counter").is_none());
        Value::from_iter(parts.cloned()).to_string().replace(&asking_of_model(link), &asking(link))
    };
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
    let rules =
        |rules: &[DropRule]| -> Value { rules.iter().map(|rule| json!([rule.kind, rule.matches])).collect() };
    let chains = chains.iter().map(|chain| json!([chain.name, chain.hook, rules(&chain.rules)]));
    let digest = Sha256::digest(Value::from_iter(chains).to_string().as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
