//! The JSON of `nft` → the chains that one packet meets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::chain::{Base, HookedAt, Met, MetRule, RuleProgram, Then};
use super::expression::{NamedSets, is_key, matches};
use super::fit::Fit;
use super::listing::RuleTexts;
use super::packet::Packet;
use crate::model::{Family, text};

/// The chains of every table that such a packet meets, without those of `known`: a table by its family and
/// name.
pub(super) fn chains(
    json: &Value,
    texts: &RuleTexts,
    packet: &Packet<'_>,
    known: &BTreeSet<(&str, String)>,
) -> Vec<Met> {
    let families: &[&str] = match packet.family() {
        _ if !packet.is_ip() => &["arp"],
        Family::V4 => &["ip", "inet"],
        Family::V6 => &["ip6", "inet"],
    };
    let objects = || json["nftables"].as_array().into_iter().flatten();
    let of = |object: &Value| {
        let table = object["table"].as_str()?.to_owned();
        let family = *families.iter().find(|family| object["family"] == **family)?;
        (!known.contains(&(family, table.clone()))).then_some((family, table))
    };
    let name = |object: &Value| Some(object["name"].as_str()?.to_owned());
    let mut sets: BTreeMap<(&str, String), NamedSets<'_>> = BTreeMap::new();
    let mut asleep: BTreeMap<(&str, String), Fit> = BTreeMap::new();
    let mut chains: BTreeMap<(&str, String, String), Met> = BTreeMap::new();
    for object in objects() {
        if let Some(set) = object.get("set").or(object.get("map")) {
            let (Some(of), Some(name)) = (of(set), set["name"].as_str()) else { continue };
            let elements = set["elem"].as_array().map_or(&[][..], Vec::as_slice);
            sets.entry(of).or_default().insert(name, elements);
        } else if let Some(table) = object.get("table") {
            let family = families.iter().find(|family| table["family"] == **family);
            if let (Some(family), Some(name)) = (family, name(table)) {
                asleep.insert((family, name), is_awake(table));
            }
        } else if let Some(chain) = object.get("chain") {
            let (Some((family, table)), Some(name)) = (of(chain), name(chain)) else { continue };
            let awake = asleep.get(&(family, table.clone())).copied().unwrap_or(Fit::Yes);
            let met = Met {
                program: RuleProgram::Nft,
                family: family.to_owned(),
                table: text::words(&table),
                name: name.clone(),
                hooked: hooked(chain, awake),
                rules: Vec::new(),
            };
            chains.insert((family, table, name), met);
        }
    }
    let none = NamedSets::new();
    for rule in objects().filter_map(|object| object.get("rule")) {
        let (Some((family, table)), Some(chain)) = (of(rule), rule["chain"].as_str()) else { continue };
        let Some(met) = chains.get_mut(&(family, table.clone(), chain.to_owned())) else { continue };
        let text = rule["handle"].as_u64().and_then(|handle| texts.of(family, &table, handle));
        let elements = sets.get(&(family, table)).unwrap_or(&none);
        met.rules.push(rule_as_met(rule, text, packet, elements));
    }
    chains.into_values().collect()
}

/// Whether the kernel calls the chains of a table. nft 1.0.6 writes the table's name where its flags should be.
fn is_awake(table: &Value) -> Fit {
    match &table["flags"] {
        Value::Null => Fit::Yes,
        Value::String(flag) if flag == "dormant" => Fit::No,
        Value::Array(flags) if flags.iter().any(|flag| flag == "dormant") => Fit::No,
        Value::String(flag) if *flag == table["name"] => Fit::Perhaps,
        _ => Fit::Yes,
    }
}

fn hooked(chain: &Value, is_awake: Fit) -> Option<Base> {
    let hook = HookedAt::named(chain["hook"].as_str()?)?;
    Some(Base {
        hook,
        priority: chain["prio"].as_i64().unwrap_or_default(),
        drops: chain["policy"] == "drop",
        packets: None,
        translates: chain["type"] == "nat",
        is_awake,
    })
}

fn rule_as_met(rule: &Value, text: Option<&str>, packet: &Packet<'_>, sets: &NamedSets<'_>) -> MetRule {
    let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    let text = match text {
        Some(text) => text.to_owned(),
        None => text::words(&rule["expr"].to_string()),
    };
    let mut fit = Fit::Yes;
    let mut met = MetRule { branches: Vec::new(), text, packets: None };
    for expression in expressions {
        let Some((kind, inner)) = expression.as_object().and_then(|object| object.iter().next()) else {
            fit = fit.and(Fit::Perhaps);
            continue;
        };
        let target = || inner["target"].as_str().unwrap_or_default().to_owned();
        let then = match kind.as_str() {
            "match" => {
                fit = fit.and(matches(inner, packet, sets));
                continue;
            }
            "counter" => {
                met.packets = inner["packets"].as_u64();
                continue;
            }
            "vmap" => {
                met.branches.extend(branches(inner, fit, packet, sets));
                continue;
            }
            "accept" => Then::Accept,
            "drop" | "reject" => Then::Drop,
            "return" => Then::Return,
            "jump" => Then::Jump(target()),
            "goto" => Then::Goto(target()),
            "masquerade" | "snat" => Then::Translate,
            "queue" => {
                // Another program decides.
                fit = fit.and(Fit::Perhaps);
                Then::Drop
            }
            "xt" => match of_iptables(inner) {
                Some(then) => then,
                None => {
                    fit = fit.and(Fit::Perhaps);
                    continue;
                }
            },
            other => {
                fit = fit.and(of_statement(other, inner));
                continue;
            }
        };
        met.branches.push((fit, then));
        break;
    }
    met
}

/// Whether a packet passes a statement that neither ends the rule nor is a plain condition.
fn of_statement(kind: &str, inner: &Value) -> Fit {
    let is_beyond = |limit: &Value| limit["inv"] == true;
    match kind {
        // What is within a limit is ordinary; what is beyond it is not.
        "limit" | "quota" | "ct count" => Fit::of(!is_beyond(inner)),
        "set" | "meter" => {
            let limits = match &inner["stmt"] {
                Value::Array(statements) => statements.iter().filter_map(|one| one.get("limit")).collect(),
                statement => statement.get("limit").into_iter().collect::<Vec<_>>(),
            };
            Fit::of(!limits.into_iter().any(is_beyond))
        }
        "log" | "mangle" | "notrack" | "comment" | "ct helper" | "ct timeout" | "ct expectation"
        | "secmark" | "flow" | "dup" | "last" | "dnat" | "redirect" | "tproxy" | "continue" => Fit::Yes,
        _ => Fit::Perhaps,
    }
}

/// The targets of iptables that decide; `None` for a match, which cannot be seen into.
fn of_iptables(inner: &Value) -> Option<Then> {
    match (inner["type"].as_str(), inner["name"].as_str()) {
        (Some("target"), Some("MASQUERADE" | "SNAT" | "NETMAP")) => Some(Then::Translate),
        (Some("target"), Some("REJECT" | "DROP")) => Some(Then::Drop),
        (Some("target"), _) => Some(Then::Go),
        _ => None,
    }
}

/// The branches of a map of verdicts, if the rule gets there.
fn branches(vmap: &Value, fit: Fit, packet: &Packet<'_>, sets: &NamedSets<'_>) -> Vec<(Fit, Then)> {
    let named = vmap["data"].as_str().and_then(|name| sets.get(name.strip_prefix('@')?));
    let elements = match (named, vmap["data"]["set"].as_array()) {
        (Some(elements), _) => *elements,
        (None, Some(elements)) => elements,
        (None, None) => return vec![(fit.and(Fit::Perhaps), Then::Drop)],
    };
    let branch = |element: &Value| {
        let then = verdict(element.get(1)?)?;
        Some((fit.and(is_key(&vmap["key"], element.get(0)?, packet, sets)), then))
    };
    elements.iter().filter_map(branch).collect()
}

fn verdict(value: &Value) -> Option<Then> {
    let (kind, inner) = value.as_object()?.iter().next()?;
    let target = || inner["target"].as_str().unwrap_or_default().to_owned();
    Some(match kind.as_str() {
        "accept" => Then::Accept,
        "drop" => Then::Drop,
        "return" => Then::Return,
        "jump" => Then::Jump(target()),
        "goto" => Then::Goto(target()),
        _ => Then::Go,
    })
}

/// The ports that rules name, each with whether it is UDP's.
pub(super) fn ports(json: &Value) -> impl Iterator<Item = (bool, u16)> {
    let mut found = Vec::new();
    let rules = json["nftables"].as_array().into_iter().flatten().filter_map(|object| object.get("rule"));
    let expressions = rules.flat_map(|rule| rule["expr"].as_array().into_iter().flatten());
    for condition in expressions.filter_map(|expression| expression.get("match")) {
        let payload = &condition["left"]["payload"];
        if payload["field"] != "dport" {
            continue;
        }
        let mut numbers = Vec::new();
        collect(&condition["right"], &mut numbers);
        for port in numbers {
            let is_udp = payload["protocol"] == "udp";
            found.push((is_udp, port));
            if payload["protocol"] == "th" {
                found.push((true, port));
            }
        }
    }
    found.into_iter()
}

/// The numbers in a value. Of a range, its first.
fn collect(value: &Value, numbers: &mut Vec<u16>) {
    match value {
        Value::Number(number) => numbers.extend(number.as_u64().and_then(|it| u16::try_from(it).ok())),
        Value::Array(values) => values.iter().for_each(|value| collect(value, numbers)),
        Value::Object(object) => match object.get("range").and_then(Value::as_array) {
            Some(range) => range.iter().take(1).for_each(|value| collect(value, numbers)),
            None => object.values().for_each(|value| collect(value, numbers)),
        },
        _ => {}
    }
}
