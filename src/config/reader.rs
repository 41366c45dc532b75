//! The state of a reader of the files' tables: their values, each with its place, and the faults so far.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Debug;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::files::Source;

/// The place of something: the number of the file, and the bytes in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) source: usize,
    pub(super) bytes: Range<usize>,
}

/// A value, and its key as people write it (`shim.addresses`).
#[derive(Clone)]
pub(super) struct Value<'d> {
    pub(super) key: String,
    /// Whether it is an item of the list that the key has.
    item: bool,
    pub(super) at: Place,
    pub(super) found: &'d DeValue<'d>,
}

/// The values of one table of a section, by their keys, which the section has. If the section comes once,
/// they may be from several files.
pub(super) type KeyValues<'d> = BTreeMap<&'d str, Value<'d>>;

/// The state while the tables are read: the texts, the faults so far, and the values that may come only once.
pub(super) struct Reader<'t> {
    pub(super) sources: &'t [Source],
    /// Whether addresses of IPv6 may be used.
    pub(super) ipv6: bool,
    faults: Vec<(usize, Fault)>,
    /// By scope and value.
    seen: BTreeMap<(String, String), Place>,
}

impl<'d> Value<'d> {
    pub(super) fn new(key: String, at: Place, found: &'d DeValue<'d>) -> Value<'d> {
        Value { key, item: false, at, found }
    }

    /// An item of the list that the key has.
    pub(super) fn item(&self, item: &'d Spanned<DeValue<'d>>) -> Value<'d> {
        let at = Place { source: self.at.source, bytes: item.span() };
        Value { item: true, at, found: item.get_ref(), ..self.clone() }
    }

    /// A text with its key, for the beginning of a message.
    pub(super) fn quoted(&self) -> String {
        format!("{}: {:?}", self.key, self.found.as_str().unwrap_or_default())
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(sources: &'t [Source]) -> Reader<'t> {
        Reader { sources, ipv6: true, faults: Vec::new(), seen: BTreeMap::new() }
    }

    /// The TOML of each file. A text that is not TOML gets all its faults reported, and has no values.
    pub(super) fn parse(&mut self) -> Vec<DeTable<'t>> {
        let mut trees = Vec::new();
        for (source, Source { text, .. }) in self.sources.iter().enumerate() {
            let (tree, errors) = DeTable::parse_recoverable(text);
            for error in &errors {
                let end = text.trim_end().len();
                let bytes = error.span().unwrap_or(end..end);
                self.fault(&Place { source, bytes }, error.message().to_owned(), None);
            }
            trees.push(if errors.is_empty() { tree.into_inner() } else { DeTable::default() });
        }
        trees
    }

    pub(super) fn fault(&mut self, at: &Place, message: String, hint: Option<String>) {
        let Some(Source { file, text }) = self.sources.get(at.source) else { return };
        self.faults.push((at.source, Fault::at(file, text, at.bytes.clone(), message, hint)));
    }

    /// `key` is `found`; expected `expected`.
    pub(super) fn unexpected(&mut self, at: &Place, key: &str, found: &DeValue<'_>, expected: &str) {
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

    /// A value that is not of the expected type.
    pub(super) fn mistyped<T>(&mut self, value: &Value<'_>, expected: &str) -> Option<T> {
        let Value { key, item, at, found, .. } = value;
        let key = if *item { &format!("an item of {key}") } else { key };
        self.unexpected(at, key, found, expected);
        None
    }

    /// Refuses a text that means the same as one before it. All values of one scope differ.
    pub(super) fn once<T: Debug>(&mut self, scope: String, value: &Value<'_>, checked: T) -> Option<T> {
        match self.seen.entry((scope, format!("{checked:?}"))) {
            Entry::Vacant(entry) => {
                entry.insert(value.at.clone());
                Some(checked)
            }
            Entry::Occupied(entry) => {
                let first = entry.get().clone();
                let message = format!("{} is already in {}", value.quoted(), self.spot(&first, &value.at));
                self.fault(&value.at, message, None);
                None
            }
        }
    }

    /// A place as seen from another place: the file is named only if it is a different one.
    pub(super) fn spot(&self, at: &Place, from: &Place) -> String {
        let Some(Source { file, text }) = self.sources.get(at.source) else { return String::new() };
        let line = text[..at.bytes.start].matches('\n').count() + 1;
        match at.source == from.source {
            true => format!("line {line}"),
            false => format!("{}, line {line}", file.display()),
        }
    }

    /// The faults in the order of the files and their lines.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|(source, fault)| (*source, fault.line()));
        self.faults.into_iter().map(|(_, fault)| fault).collect()
    }
}
