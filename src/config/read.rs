//! A TOML table → its values, each with its place in the file. Types and unknown keys are checked here;
//! what a value means is not.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;

/// The sections that there are: name, whether it may come several times, its keys.
pub(super) const SECTIONS: [(&str, bool, &[&str]); 5] = [
    ("server", true, &["socket"]),
    ("select", false, &["profiles", "projects"]),
    ("shim", false, &["addresses", "ipv6", "keep"]),
    ("parent", true, &["name", "addresses", "routes", "keep"]),
    ("policy", false, &["allow", "deny", "max_addresses", "probe"]),
];

/// The text of a file, and the faults found in it so far.
pub(super) struct Text<'t> {
    text: &'t str,
    faults: Vec<Fault>,
}

/// A value, its key as people write it (`shim.addresses`), and its place.
pub(super) struct Value<T> {
    pub(super) key: String,
    pub(super) at: Range<usize>,
    pub(super) value: T,
}

/// One table of a section.
pub(super) struct Section<'d> {
    name: &'static str,
    /// Where its header stands.
    pub(super) at: Range<usize>,
    table: &'d DeTable<'d>,
}

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Text<'t> {
        Text { text, faults: Vec::new() }
    }

    /// The tables of the file; only the first fault is told where the text is not TOML.
    pub(super) fn parse(&mut self) -> DeTable<'t> {
        match DeTable::parse(self.text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let end = self.text.trim_end().len();
                self.fault(error.span().unwrap_or(end..end), error.message().to_owned(), None);
                DeTable::default()
            }
        }
    }

    pub(super) fn fault(&mut self, at: Range<usize>, message: String, hint: Option<String>) {
        self.faults.push(Fault::at(self.text, at, message, hint));
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// In the order of the file.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.line);
        self.faults
    }

    /// What is at the top of the file and is no section.
    pub(super) fn refuse_unknown_sections(&mut self, file: &DeTable<'_>) {
        for (key, value) in file {
            let name = key.get_ref();
            if SECTIONS.iter().any(|(known, ..)| known == name) {
                continue;
            }
            let is_section = match value.get_ref() {
                DeValue::Table(_) => true,
                DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
                _ => false,
            };
            let (message, hint) = if is_section {
                let known = SECTIONS.map(|(name, ..)| name);
                let meant = closest(name, &known).map(|name| format!("did you mean {}? ", header(name)));
                let all = known.map(header).join(", ");
                (
                    format!("there is no section {name:?}"),
                    format!("{}the sections are {all}", meant.unwrap_or_default()),
                )
            } else {
                (format!("the key {name:?} stands outside of any section"), elsewhere(name))
            };
            self.fault(key.span(), message, Some(hint));
        }
    }

    /// The tables of one section; none, one or, for those written `[[…]]`, several.
    pub(super) fn section<'d>(&mut self, file: &'d DeTable<'d>, name: &'static str) -> Vec<Section<'d>> {
        let Some((key, value)) = file.get_key_value(name) else { return Vec::new() };
        let Some((_, several, known)) = SECTIONS.iter().find(|(section, ..)| *section == name) else {
            return Vec::new();
        };
        let tables: Vec<&Spanned<DeValue<'_>>> = match (several, value.get_ref()) {
            (false, DeValue::Table(_)) => vec![value],
            (true, DeValue::Array(items)) => items.iter().collect(),
            (true, DeValue::Table(_)) => {
                let message = format!("[{name}] may come several times and is written in two brackets");
                self.fault(key.span(), message, Some(format!("write [[{name}]]")));
                return Vec::new();
            }
            (_, other) => {
                self.expected(name, key.span(), other, &format!("the section {}", header(name)));
                return Vec::new();
            }
        };
        let mut sections = Vec::new();
        for table in tables {
            match table.get_ref() {
                DeValue::Table(inner) => {
                    self.refuse_unknown_keys(name, inner, known);
                    sections.push(Section { name, at: table.span(), table: inner });
                }
                other => self.expected(name, table.span(), other, &format!("the section {}", header(name))),
            }
        }
        sections
    }

    fn refuse_unknown_keys(&mut self, section: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name = key.get_ref();
            if known.contains(&name.as_ref()) {
                continue;
            }
            let at_home = SECTIONS.iter().any(|(.., keys)| keys.contains(&name.as_ref()));
            let meant = match closest(name, known) {
                _ if at_home => format!("{}; ", elsewhere(name)),
                Some(meant) => format!("did you mean {meant:?}? "),
                None => String::new(),
            };
            let message = format!("there is no key {name:?} in {}", header(section));
            self.fault(key.span(), message, Some(format!("{meant}the keys there are {}", known.join(", "))));
        }
    }

    fn expected(&mut self, key: &str, at: Range<usize>, found: &DeValue<'_>, expected: &str) {
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(at, format!("{key} is {found}; expected {expected}"), None);
    }
}

impl<'d> Section<'d> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn get(&self, key: &str) -> Option<Value<&'d DeValue<'d>>> {
        let value = self.table.get(key)?;
        Some(Value { key: format!("{}.{key}", self.name), at: value.span(), value: value.get_ref() })
    }

    pub(super) fn string(&self, text: &mut Text<'_>, key: &str) -> Option<Value<&'d str>> {
        let Value { key, at, value } = self.get(key)?;
        match value {
            DeValue::String(value) => Some(Value { key, at, value: value.as_ref() }),
            other => {
                text.expected(&key, at, other, "a string");
                None
            }
        }
    }

    pub(super) fn boolean(&self, text: &mut Text<'_>, key: &str) -> Option<bool> {
        let Value { key, at, value } = self.get(key)?;
        match value {
            DeValue::Boolean(value) => Some(*value),
            other => {
                text.expected(&key, at, other, "true or false, without quotes");
                None
            }
        }
    }

    /// A whole number between two bounds.
    pub(super) fn number(&self, text: &mut Text<'_>, key: &str, least: usize, most: usize) -> Option<usize> {
        let Value { key, at, value } = self.get(key)?;
        let DeValue::Integer(written) = value else {
            text.expected(&key, at, value, &format!("a number from {least} to {most}"));
            return None;
        };
        let number = usize::from_str_radix(written.as_str(), written.radix()).ok();
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            text.fault(at, format!("{key} is {written}; expected a number from {least} to {most}"), None);
        }
        number
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &self,
        text: &mut Text<'_>,
        key: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let Value { key, at, value } = self.string(text, key)?;
        let chosen = all.iter().copied().find(|choice| name(*choice) == value);
        if chosen.is_none() {
            let words: Vec<&str> = all.iter().copied().map(name).collect();
            let hint = closest(value, &words).map(|meant| format!("did you mean {meant:?}?"));
            let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            text.fault(at, format!("{key} is {value:?}; expected one of {}", quoted.join(", ")), hint);
        }
        chosen
    }

    /// A list of strings; `None` if the key is absent.
    pub(super) fn strings(&self, text: &mut Text<'_>, key: &str) -> Option<Vec<Value<&'d str>>> {
        let Value { key, at, value } = self.get(key)?;
        let items = match value {
            DeValue::Array(items) => items,
            DeValue::String(one) => {
                let message = format!("{key} is a string; expected a list of strings");
                text.fault(at, message, Some(format!("write [{one:?}]")));
                return None;
            }
            other => {
                text.expected(&key, at, other, "a list of strings");
                return None;
            }
        };
        let mut strings = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(value) => {
                    strings.push(Value { key: key.clone(), at: item.span(), value: value.as_ref() });
                }
                other => text.expected(&format!("an item of {key}"), item.span(), other, "a string"),
            }
        }
        Some(strings)
    }
}

/// As it is written in the file.
fn header(section: &str) -> String {
    match SECTIONS.iter().any(|(name, several, _)| *name == section && *several) {
        true => format!("[[{section}]]"),
        false => format!("[{section}]"),
    }
}

/// Which sections have that key.
fn elsewhere(key: &str) -> String {
    let owners = |key: &str| -> Vec<String> {
        let owners = SECTIONS.iter().filter(|(.., keys)| keys.contains(&key));
        owners.map(|(section, ..)| header(section)).collect()
    };
    let all: Vec<&str> = SECTIONS.iter().flat_map(|(.., keys)| keys.iter().copied()).collect();
    match (owners(key), closest(key, &all)) {
        (own, _) if !own.is_empty() => format!("{key:?} belongs to {}", own.join(" or ")),
        (_, Some(near)) => format!("did you mean {near:?} of {}?", owners(near).join(" or ")),
        _ => format!("the sections are {}", SECTIONS.map(|(name, ..)| header(name)).join(", ")),
    }
}

fn closest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(&written.to_lowercase(), known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then_some(best)
}
