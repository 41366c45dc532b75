//! The five sections → [`Config`], and what must be unique.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;

use ipnet::IpNet;

use super::error::Fault;
use super::read::{Section, Text, Value};
use super::values::{self, Wrong};
use super::{Config, Parent, Policy, Probe, Select, Shim};

/// The configuration that a text holds, or all faults in it.
pub(super) fn config(text: &str) -> Result<Config, Vec<Fault>> {
    let mut text = Text::new(text);
    let file = text.parse();
    text.refuse_unknown_sections(&file);
    let shim = one(&mut text, &file, "shim", shim);
    let config = Config {
        servers: servers(&mut text, &file),
        select: one(&mut text, &file, "select", select),
        parents: parents(&mut text, &file, shim.ipv6),
        shim,
        policy: one(&mut text, &file, "policy", policy),
    };
    match text.into_faults() {
        faults if faults.is_empty() => Ok(config),
        faults => Err(faults),
    }
}

type File<'d> = toml::de::DeTable<'d>;

fn one<'d, T: Default>(
    text: &mut Text<'_>,
    file: &'d File<'d>,
    name: &'static str,
    read: impl Fn(&mut Text<'_>, &Section<'d>) -> T,
) -> T {
    text.section(file, name).first().map(|section| read(text, section)).unwrap_or_default()
}

fn servers<'d>(text: &mut Text<'_>, file: &'d File<'d>) -> Vec<PathBuf> {
    let mut sockets = Unique::default();
    for section in text.section(file, "server") {
        match section.string(text, "socket") {
            Some(written) => sockets.add(text, &written, values::socket),
            None => missing(text, &section, "socket", "[[server]] names no socket"),
        }
    }
    sockets.values()
}

fn select(text: &mut Text<'_>, section: &Section<'_>) -> Select {
    Select {
        profiles: list(text, section, "profiles", values::name).unwrap_or_default(),
        projects: list(text, section, "projects", values::name).unwrap_or_default(),
    }
}

fn shim(text: &mut Text<'_>, section: &Section<'_>) -> Shim {
    let default = Shim::default();
    let ipv6 = section.boolean(text, "ipv6").unwrap_or(default.ipv6);
    Shim {
        addresses: list(text, section, "addresses", |written| own_address(written, ipv6)).unwrap_or_default(),
        ipv6,
        keep: section.boolean(text, "keep").unwrap_or(default.keep),
    }
}

fn parents<'d>(text: &mut Text<'_>, file: &'d File<'d>, ipv6: bool) -> BTreeMap<String, Parent> {
    let mut names = Unique::default();
    let mut ranges = Unique::default();
    let mut parents = BTreeMap::new();
    for section in text.section(file, "parent") {
        let parent = parent(text, &section, &mut ranges, ipv6);
        let Some(written) = section.string(text, "name") else {
            missing(text, &section, "name", "[[parent]] has no name");
            continue;
        };
        names.add(text, &written, values::parent);
        parents.insert(written.value.to_owned(), parent);
    }
    parents
}

/// A range can lead through one shim only, so ranges are unique over all parents.
fn parent(text: &mut Text<'_>, section: &Section<'_>, ranges: &mut Unique<IpNet>, ipv6: bool) -> Parent {
    let before = ranges.seen.len();
    for written in section.strings(text, "routes").unwrap_or_default() {
        ranges.add(text, &written, |written| {
            let range = values::range(written)?;
            values::family(range.addr(), ipv6)?;
            Ok(range)
        });
    }
    Parent {
        addresses: list(text, section, "addresses", |written| own_address(written, ipv6)),
        routes: ranges.seen[before..].iter().map(|(range, _)| *range).collect(),
        keep: section.boolean(text, "keep"),
    }
}

fn own_address(written: &str, ipv6: bool) -> Result<IpAddr, Wrong> {
    let address = values::own_address(written)?;
    values::family(address, ipv6)?;
    Ok(address)
}

fn policy(text: &mut Text<'_>, section: &Section<'_>) -> Policy {
    let default = Policy::default();
    Policy {
        allow: list(text, section, "allow", values::prefix).unwrap_or_default(),
        deny: list(text, section, "deny", values::prefix).unwrap_or_default(),
        max_addresses: section.number(text, "max_addresses", 1, 4096).unwrap_or(default.max_addresses),
        probe: section.choice(text, "probe", &Probe::ALL, Probe::as_str).unwrap_or_default(),
    }
}

fn list<T: PartialEq>(
    text: &mut Text<'_>,
    section: &Section<'_>,
    key: &str,
    check: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let mut unique = Unique::default();
    for written in section.strings(text, key)? {
        unique.add(text, &written, &check);
    }
    Some(unique.values())
}

fn missing(text: &mut Text<'_>, section: &Section<'_>, key: &str, message: &str) {
    // A key of the wrong type has been told already.
    if !section.has(key) {
        text.fault(section.at.clone(), message.to_owned(), Some(format!("add {key} = \"…\" below it")));
    }
}

/// Values of which each may come once only, each with its place.
struct Unique<T> {
    seen: Vec<(T, Range<usize>)>,
}

impl<T> Default for Unique<T> {
    fn default() -> Unique<T> {
        Unique { seen: Vec::new() }
    }
}

impl<T: PartialEq> Unique<T> {
    fn add(&mut self, text: &mut Text<'_>, written: &Value<&str>, check: impl Fn(&str) -> Result<T, Wrong>) {
        let Value { key, at, value } = written;
        match check(value) {
            Err(Wrong { what, hint }) => text.fault(at.clone(), format!("{key}: {value:?} {what}"), hint),
            Ok(checked) => match self.seen.iter().find(|(seen, _)| *seen == checked) {
                Some((_, first)) => {
                    let line = text.line(first.start);
                    text.fault(at.clone(), format!("{key}: {value:?} stands in line {line} already"), None);
                }
                None => self.seen.push((checked, at.clone())),
            },
        }
    }

    fn values(self) -> Vec<T> {
        self.seen.into_iter().map(|(value, _)| value).collect()
    }
}
