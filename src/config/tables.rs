//! The TOML of all files → one table for each section, or several. Reports unknown sections and keys.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use toml::de::{DeTable, DeValue};

use super::reader::{KeyValues, Place, Reader, Value};
use super::section::{Schema, Section};
use super::sections::SECTIONS;
use crate::model::text::closest;

/// The tables of all files, by the name of their section.
#[derive(Default)]
pub(super) struct Tables<'d>(BTreeMap<&'static str, Vec<KeyValues<'d>>>);

impl<'d> Tables<'d> {
    pub(super) fn new(trees: &'d [DeTable<'d>], reader: &mut Reader<'_>) -> Tables<'d> {
        let mut tables = Tables::default();
        for (source, tree) in trees.iter().enumerate() {
            for (key, value) in tree {
                let place = |bytes| Place { source, bytes };
                let (name, at) = (key.get_ref().as_ref(), place(key.span()));
                let Some(schema) = SECTIONS.into_iter().find(|schema| schema.name() == name) else {
                    refuse_unknown_section(reader, &at, name, value.get_ref());
                    continue;
                };
                let found = match value.get_ref() {
                    DeValue::Array(items) if schema.several() => &items[..],
                    DeValue::Table(_) if schema.several() => {
                        let message =
                            format!("[{name}] may come several times and is written in two brackets");
                        reader.fault(&at, message, Some(format!("write [[{name}]]")));
                        continue;
                    }
                    _ => std::slice::from_ref(value),
                };
                for table in found {
                    let at = if schema.several() { place(table.span()) } else { at.clone() };
                    match table.get_ref() {
                        DeValue::Table(keys) => tables.add(schema, at, keys, reader),
                        other => {
                            reader.unexpected(&at, name, other, &format!("the section {}", schema.header))
                        }
                    }
                }
            }
        }
        tables
    }

    /// Adds the keys of a table to its section, or the table to the section's tables if there may be several.
    fn add(&mut self, schema: &'static Schema, at: Place, keys: &'d DeTable<'d>, reader: &mut Reader<'_>) {
        let tables = self.0.entry(schema.name()).or_default();
        if schema.several() || tables.is_empty() {
            tables.push(KeyValues::default());
        }
        let Some(table) = tables.last_mut() else { return };
        for (key, value) in keys {
            let (name, key_at) = (key.get_ref().as_ref(), Place { source: at.source, bytes: key.span() });
            if !schema.has(name) {
                refuse_unknown_key(reader, &key_at, schema, name);
                continue;
            }
            let full_name = format!("{}.{name}", schema.name());
            match table.entry(name) {
                Entry::Vacant(entry) => {
                    let at = Place { source: at.source, bytes: value.span() };
                    entry.insert(Value::new(full_name, at, value.get_ref()));
                }
                // Two in one file are not TOML.
                Entry::Occupied(first) => {
                    let first = reader.spot(&first.get().at, &key_at);
                    let hint = "a key may be in only one file".to_owned();
                    reader.fault(&key_at, format!("{full_name} is already in {first}"), Some(hint));
                }
            }
        }
        if let Some(required) = schema.required().filter(|key| !table.contains_key(key)) {
            let message = format!("{} has no {required}", schema.header);
            reader.fault(&at, message, Some(format!("add {required} = \"…\" below it")));
        }
    }

    /// A section that comes once. The files that have none of its keys leave them at their defaults.
    pub(super) fn one<S: Section>(&self, reader: &mut Reader<'_>) -> S {
        self.all(reader).pop().unwrap_or_default()
    }

    /// A section that comes several times.
    pub(super) fn all<S: Section>(&self, reader: &mut Reader<'_>) -> Vec<S> {
        let tables = self.0.get(S::SCHEMA.name()).into_iter().flatten();
        tables.map(|table| S::read(table, reader)).collect()
    }
}

fn refuse_unknown_section(reader: &mut Reader<'_>, at: &Place, name: &str, found: &DeValue<'_>) {
    let is_section = match found {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        _ => false,
    };
    let (message, hint) = if is_section {
        let meant = closest(name, &SECTIONS.map(Schema::name));
        let meant = SECTIONS.into_iter().find(|schema| Some(schema.name()) == meant);
        let meant = meant.map(|schema| format!("did you mean {}? ", schema.header)).unwrap_or_default();
        (format!("there is no section {name:?}"), format!("{meant}{}", all_sections()))
    } else {
        (format!("the key {name:?} is outside of any section"), elsewhere(name))
    };
    reader.fault(at, message, Some(hint));
}

fn refuse_unknown_key(reader: &mut Reader<'_>, at: &Place, schema: &Schema, name: &str) {
    let known: Vec<&str> = schema.keys.iter().map(|key| key.name).collect();
    let meant = match closest(name, &known) {
        _ if SECTIONS.iter().any(|schema| schema.has(name)) => format!("{}; ", elsewhere(name)),
        Some(meant) => format!("did you mean {meant:?}? "),
        None => String::new(),
    };
    let hint = format!("{meant}the keys there are {}", known.join(", "));
    reader.fault(at, format!("there is no key {name:?} in {}", schema.header), Some(hint));
}

/// The sections that have this key.
fn elsewhere(key: &str) -> String {
    let owners = |key: &str| {
        let owners = SECTIONS.iter().filter(|schema| schema.has(key)).map(|schema| schema.header);
        owners.collect::<Vec<_>>().join(" or ")
    };
    let all: Vec<&str> = SECTIONS.iter().flat_map(|schema| schema.keys).map(|key| key.name).collect();
    match closest(key, &all) {
        _ if all.contains(&key) => format!("{key:?} belongs to {}", owners(key)),
        Some(near) => format!("did you mean {near:?} of {}?", owners(near)),
        None => all_sections(),
    }
}

fn all_sections() -> String {
    format!("the sections are {}", SECTIONS.map(|schema| schema.header).join(", "))
}
