//! The table itself: how it is listed and changed by `nft`. Each call blocks for some milliseconds.
//!
//! A shim's filter is a set of MACs, a set of addresses and a chain at each of the hooks ingress and egress
//! ([`super::rules`]). All are named after the ifindex of the shim, so that the filter of a shim that is gone
//! is never mistaken for that of a new one.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::abilities::Abilities;
use super::nft::{Nft, NftError};
use super::rules::{self, NftObject};
use super::sets;
use crate::model::dropped::DroppedPackets;
use crate::model::names::FILTER_TABLE;
use crate::model::snapshot::{Filter, ForeignChain, ShimFilter};
use crate::model::{LinkIndex, Mac};

/// The filter that a shim should have.
#[derive(Clone, Debug)]
pub(in crate::kernel) struct WantedFilter {
    /// The shim.
    pub(in crate::kernel) link: LinkIndex,
    /// Its name.
    pub(in crate::kernel) device: SmolStr,
    /// The MACs that pass; `None`: anybody's.
    pub(in crate::kernel) macs: Option<BTreeSet<Mac>>,
    /// The IPv4 addresses that may be asked for.
    pub(in crate::kernel) answers: BTreeSet<Ipv4Net>,
}

/// The existing filters, and what they have done.
#[derive(Debug, Default)]
pub(in crate::kernel) struct FilterListing {
    /// The filters.
    pub(in crate::kernel) filter: Filter,
    /// The packets that they have dropped.
    pub(in crate::kernel) dropped: Vec<DroppedPackets>,
}

/// The part of nft's listing that is of the family netdev.
#[derive(Debug, Default)]
struct Ruleset {
    /// The objects of our table, by the ifindex of their shim.
    ours: BTreeMap<LinkIndex, Vec<NftObject>>,
    foreign: Vec<ForeignChain>,
}

/// Our table, and the memory of it between two calls.
#[derive(Debug, Default)]
pub(super) struct FilterTable {
    nft: Nft,
    abilities: Abilities,
    /// The kernel or `nft` may be able to do more by now.
    doubted: bool,
    /// The table has a flag, such as `dormant`. Then none of its chains is at its hook.
    sleeps: bool,
}

impl FilterTable {
    /// Reads the existing filters.
    pub(super) fn read(&mut self) -> Result<FilterListing, NftError> {
        if self.doubted {
            self.abilities = self.find_abilities()?;
            self.doubted = false;
        }
        let Ruleset { ours, foreign } = self.list()?;
        let dropped = ours.iter().flat_map(|(link, objects)| rules::dropped(*link, objects)).collect();
        let filter = |(link, objects): (LinkIndex, Vec<NftObject>)| {
            let mut filter = shim_filter(link, &objects, self.abilities);
            filter.whole &= !self.sleeps;
            (link, filter)
        };
        let shims = ours.into_iter().map(filter).collect();
        let filter = Filter { usable: true, lacks: self.abilities.lacks(), shims, foreign };
        Ok(FilterListing { filter, dropped })
    }

    /// Brings a shim's filter up to date, in one transaction. If the existing one is whole, only the elements
    /// of its sets are changed.
    pub(super) fn set(
        &mut self,
        wanted: &WantedFilter,
        standing: Option<&ShimFilter>,
    ) -> Result<(), NftError> {
        if let Some(standing) = standing
            && standing.whole
            && standing.device == wanted.device
            && standing.macs.is_some() == wanted.macs.is_some()
        {
            return self.change(difference(standing, wanted));
        }
        if self.sleeps {
            // Separately from the rest, because the kernel refuses both together (FACTS 56).
            self.run(&["-j", "-f", "-"], Vec::new())?;
            self.sleeps = false;
        }
        let removal = if standing.is_some() { self.removal(wanted.link)? } else { Vec::new() };
        let making = |abilities| [removal.clone(), addition(wanted, abilities)].concat();
        let mut result = self.change(making(self.abilities));
        if matches!(result, Err(NftError::Lacks(_))) {
            self.abilities = self.find_abilities()?;
            result = self.change(making(self.abilities));
        }
        result
    }

    /// Deletes the filter of a shim. With the last one the table goes too.
    pub(super) fn delete(&mut self, link: LinkIndex, last: bool) -> Result<(), NftError> {
        let commands = if last { vec![json!({ "delete": table() })] } else { self.removal(link)? };
        self.change(commands)
    }

    /// A module may have been loaded, or `nft` replaced, so missing abilities are checked again.
    pub(super) fn doubt(&mut self) {
        self.doubted = self.abilities != Abilities::default();
    }

    /// Finds the abilities by a trial that changes nothing. It uses a link that always exists, so only an
    /// ability can be missing.
    fn find_abilities(&mut self) -> Result<Abilities, NftError> {
        let mut result = Err(NftError::Failed("nft was not asked".to_owned()));
        let (link, device) = (LinkIndex::NONE, "lo".into());
        let wanted = WantedFilter { link, device, macs: Some(BTreeSet::new()), answers: BTreeSet::new() };
        for abilities in Abilities::ALL {
            let trial = addition(&wanted, abilities);
            result = self.run(&["-j", "-c", "-f", "-"], trial).map(|()| abilities);
            if !matches!(result, Err(NftError::Lacks(_))) {
                break;
            }
        }
        result
    }

    fn list(&mut self) -> Result<Ruleset, NftError> {
        let listing = self.nft.run(&["-j", "list", "ruleset", "netdev"], None)?;
        let listing: Value = serde_json::from_str(&listing)
            .map_err(|error| NftError::Failed(format!("nft printed no JSON: {error}")))?;
        let objects = listing["nftables"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let objects: Vec<(&str, &Value)> =
            objects.flatten().map(|(kind, object)| (kind.as_str(), object)).collect();
        let tables =
            objects.iter().filter(|(kind, object)| *kind == "table" && object["name"] == FILTER_TABLE);
        // Versions of nft name the flag differently.
        self.sleeps = tables.into_iter().any(|(_, table)| !table["flags"].is_null());
        let mut ours: BTreeMap<LinkIndex, Vec<NftObject>> = BTreeMap::new();
        for (kind, object) in objects.iter().filter(|(_, object)| object["table"] == FILTER_TABLE) {
            let link = link_of(kind, object).unwrap_or(LinkIndex::NONE);
            ours.entry(link).or_default().push(((*kind).to_owned(), (*object).clone()));
        }
        let suspects = tables_that_take_away(&objects);
        let mut foreign = Vec::new();
        if !suspects.is_empty() {
            let listing = self.nft.run(&["list", "chains", "netdev"], None)?;
            foreign = hooked_chains(&listing);
            foreign.retain(|chain| suspects.contains(chain.table.as_str()));
        }
        Ok(Ruleset { ours, foreign })
    }

    /// The commands that remove a shim's filter. All chains are emptied first, because a chain can be deleted
    /// only when no rule leads to it, and a set only when no rule names it.
    fn removal(&mut self, link: LinkIndex) -> Result<Vec<Value>, NftError> {
        let objects = self.list()?.ours.remove(&link).unwrap_or_default();
        let command = |verb: &str, kind: &str, object: &Value| json!({ verb: { kind: { "family": "netdev", "table": FILTER_TABLE, "name": object["name"] } } });
        let chains = || objects.iter().filter(|(kind, _)| kind == "chain");
        let others = objects.iter().filter(|(kind, _)| kind != "chain" && kind != "rule");
        let flush = chains().map(|(kind, chain)| command("flush", kind, chain));
        let delete = chains().chain(others).map(|(kind, object)| command("delete", kind, object));
        Ok(flush.chain(delete).collect())
    }

    fn change(&mut self, commands: Vec<Value>) -> Result<(), NftError> {
        if commands.is_empty() { Ok(()) } else { self.run(&["-j", "-f", "-"], commands) }
    }

    /// Runs commands in one transaction, which also makes our table if it is missing.
    fn run(&mut self, arguments: &[&str], commands: Vec<Value>) -> Result<(), NftError> {
        let commands = [vec![json!({ "add": table() })], commands].concat();
        let text = json!({ "nftables": commands }).to_string();
        self.nft.run(arguments, Some(text)).map(drop)
    }
}

/// The foreign tables in which something drops, forwards or queues frames.
fn tables_that_take_away<'a>(objects: &[(&str, &'a Value)]) -> BTreeSet<&'a str> {
    let takes_away =
        |object: &Value| object["policy"] == "drop" || mentions(object, &["drop", "fwd", "queue"]);
    let tables = objects.iter().filter(|(_, object)| takes_away(object));
    tables.filter_map(|(_, object)| object["table"].as_str()).filter(|table| *table != FILTER_TABLE).collect()
}

/// The chains at hooks in a listing of `nft` for people. The JSON listing has no links before version 1.0.8.
fn hooked_chains(listing: &str) -> Vec<ForeignChain> {
    let (mut table, mut name) = ("", "");
    let mut chains = Vec::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["table", _, its, "{"] => table = its,
            ["chain", its, "{"] => name = its,
            ["type", _, "hook", _, "device" | "devices", ref devices @ ..] => {
                let devices = devices.iter().take_while(|word| **word != "priority");
                let devices = devices.map(|word| word.trim_matches(['"', ',', '{', '}', '=']).to_owned());
                let devices = devices.filter(|device| !device.is_empty()).collect();
                chains.push(ForeignChain { table: table.to_owned(), name: name.to_owned(), devices });
            }
            _ => {}
        }
    }
    chains
}

/// Whether one of these keys is somewhere in a value.
fn mentions(value: &Value, keys: &[&str]) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(key, value)| keys.contains(&key.as_str()) || mentions(value, keys))
        }
        Value::Array(elements) => elements.iter().any(|element| mentions(element, keys)),
        _ => false,
    }
}

/// The ifindex at the end of an object's name, or of its chain's name.
fn link_of(kind: &str, object: &Value) -> Option<LinkIndex> {
    let name = object[if kind == "rule" { "chain" } else { "name" }].as_str()?;
    name.rsplit_once('-')?.1.parse().ok().map(LinkIndex)
}

fn shim_filter(link: LinkIndex, objects: &[NftObject], abilities: Abilities) -> ShimFilter {
    let set = |name: String| {
        let set = objects.iter().find(|(kind, object)| kind == "set" && object["name"] == name);
        set.map(|(_, set)| set["elem"].as_array().map(Vec::as_slice).unwrap_or_default())
    };
    let macs: Option<BTreeSet<Mac>> = set(sets::guests(link))
        .map(|elements| elements.iter().filter_map(|element| element.as_str()?.parse().ok()).collect());
    let elements = set(sets::answers(link)).unwrap_or_default();
    let answers: BTreeSet<Ipv4Net> = elements.iter().filter_map(sets::address_of).collect();
    let device = rules::device(objects);
    let definition = rules::definition(link, &device, macs.is_some(), abilities);
    let whole = rules::is_whole(link, objects, &definition) && answers.len() == elements.len();
    ShimFilter { device, macs, answers, whole }
}

/// The commands that give the sets of a whole filter other elements. Deletions come first, because an address
/// may make way for a range that contains it.
fn difference(standing: &ShimFilter, wanted: &WantedFilter) -> Vec<Value> {
    let (guests, answers) = (|| sets::guests(wanted.link), || sets::answers(wanted.link));
    let nobody = BTreeSet::new();
    let before = standing.macs.as_ref().unwrap_or(&nobody);
    let now = wanted.macs.as_ref().unwrap_or(&nobody);
    let addresses = sets::address_elements;
    let changes = [
        change_of("delete", guests(), sets::mac_elements(&(before - now))),
        change_of("delete", answers(), addresses(&(&standing.answers - &wanted.answers))),
        change_of("add", guests(), sets::mac_elements(&(now - before))),
        change_of("add", answers(), addresses(&(&wanted.answers - &standing.answers))),
    ];
    changes.into_iter().flatten().collect()
}

/// The commands that make a shim's filter.
fn addition(wanted: &WantedFilter, abilities: Abilities) -> Vec<Value> {
    let WantedFilter { link, device, macs, answers } = wanted;
    let definition = rules::definition(*link, device, macs.is_some(), abilities);
    let objects = definition.into_iter().map(|(kind, object)| json!({ "add": { kind: object } }));
    let macs = macs.as_ref().map(sets::mac_elements).unwrap_or_default();
    let elements = [
        change_of("add", sets::guests(*link), macs),
        change_of("add", sets::answers(*link), sets::address_elements(answers)),
    ];
    objects.chain(elements.into_iter().flatten()).collect()
}

/// The command that adds elements to a set or deletes them, if there are any.
fn change_of(verb: &str, set: String, elements: Vec<Value>) -> Option<Value> {
    let of = json!({ "family": "netdev", "table": FILTER_TABLE, "name": set, "elem": elements });
    (!elements.is_empty()).then(|| json!({ verb: { "element": of } }))
}

fn table() -> Value {
    json!({ "table": { "family": "netdev", "name": FILTER_TABLE } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The listing by `nft` of the result of [`rules::definition`].
    fn listing() -> Vec<NftObject> {
        let mut listing = rules::definition(LinkIndex(5), "mvs-eth0", true, Abilities::default());
        for (handle, (_, object)) in (1..).zip(&mut listing) {
            object["handle"] = json!(handle);
        }
        listing
    }

    fn is_whole(listing: &[NftObject]) -> bool {
        shim_filter(LinkIndex(5), listing, Abilities::default()).whole
    }

    #[test]
    fn a_filter_is_whole_with_or_without_the_set_of_its_meter_but_not_without_a_rule() {
        let mut listing = listing();
        assert!(is_whole(&listing));
        let elements = json!([{ "elem": { "val": "02:00:00:00:00:09", "timeout": 10, "expires": 4 } }]);
        let set = json!({ "table": FILTER_TABLE, "name": "asking-5", "elem": elements });
        listing.insert(0, ("set".to_owned(), set));
        assert!(is_whole(&listing));
        assert_eq!(shim_filter(LinkIndex(5), &listing, Abilities::default()).macs, Some(BTreeSet::new()));
        let rule = listing.iter().position(|(kind, _)| kind == "rule").unwrap();
        listing.remove(rule);
        assert!(!is_whole(&listing));
    }

    #[test]
    fn a_rule_that_was_added_or_changed_or_made_by_another_version_is_noticed() {
        let last = listing().len() as u64;
        let is_hooked =
            |object: &Value| object["chain"].as_str().is_some_and(|chain| !chain.starts_with("model"));
        for rule in
            listing().iter().enumerate().filter(|(_, (_, object))| is_hooked(object)).map(|(at, _)| at)
        {
            let mut replaced = listing();
            replaced[rule].1["handle"] = json!(last + 1);
            assert!(!is_whole(&replaced), "a rule that was added later");
            let mut changed = listing();
            changed[rule].1["expr"] = json!([{ "accept": null }]);
            assert!(!is_whole(&changed), "a rule that was changed in place");
            let mut counted = listing();
            for part in counted[rule].1["expr"].as_array_mut().unwrap() {
                if part.get("counter").is_some() {
                    *part = json!({ "counter": { "packets": 3, "bytes": 180 } });
                }
            }
            assert!(is_whole(&counted), "a rule that has dropped packets");
            assert_eq!(rules::dropped(LinkIndex(5), &counted).iter().map(|it| it.packets).sum::<u64>(), 3);
            let mut older = listing();
            older[rule].1["comment"] = json!("mvs-eth0");
            assert!(!is_whole(&older), "a rule without a digest");
        }
        let fewer = rules::definition(LinkIndex(5), "mvs-eth0", true, Abilities { egress: true, fib: false });
        assert!(!is_whole(&fewer), "a filter that can do less than this kernel allows");
    }

    #[test]
    fn the_links_of_chains_are_read_from_a_listing_for_people() {
        let listing = "table netdev bar {
\tchain foo {
\t\ttype filter hook ingress device \"mvs-eth0\" priority filter; policy drop;
\t}
\tchain aside {
\t}
}
table netdev many {
\tchain foo {
\t\ttype filter hook egress devices = { \"eth0\", mvs-eth1 } priority -500; policy accept;
\t}
}
";
        let chain = |table: &str, devices: &[&str]| ForeignChain {
            table: table.to_owned(),
            name: "foo".to_owned(),
            devices: devices.iter().map(|device| (*device).to_owned()).collect(),
        };
        let expected = [chain("bar", &["mvs-eth0"]), chain("many", &["eth0", "mvs-eth1"])];
        assert_eq!(hooked_chains(listing), expected);
    }

    #[test]
    fn the_addresses_of_a_listing_are_read_and_strange_ones_noticed() {
        let mut listing = listing();
        let set = listing.iter_mut().find(|(_, object)| object["name"] == "answers-5").unwrap();
        set.1["elem"] = json!(["192.168.77.11", { "prefix": { "addr": "10.0.0.0", "len": 27 } }]);
        let filter = shim_filter(LinkIndex(5), &listing, Abilities::default());
        let answers = ["192.168.77.11/32", "10.0.0.0/27"].map(|range| range.parse::<Ipv4Net>().unwrap());
        assert!(filter.whole && filter.answers == BTreeSet::from(answers), "{filter:?}");
        let set = listing.iter_mut().find(|(_, object)| object["name"] == "answers-5").unwrap();
        set.1["elem"] = json!([{ "range": ["10.0.0.3", "10.0.0.7"] }]);
        assert!(!is_whole(&listing));
    }
}
