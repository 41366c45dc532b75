//! One value of a table → a checked value, or `None` and a fault. The fields of a section name these
//! functions. The meaning of a text is in `values`.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use toml::de::DeValue;

use super::reader::{Reader, Value};
use super::values::{Checked, Wrong};
use crate::model::text::closest;

/// Reads a value of one kind.
pub(super) trait Read<T>: Fn(&Value<'_>, &mut Reader<'_>) -> Option<T> {}

impl<T, F: Fn(&Value<'_>, &mut Reader<'_>) -> Option<T>> Read<T> for F {}

/// True or false.
pub(super) fn boolean(value: &Value<'_>, reader: &mut Reader<'_>) -> Option<bool> {
    match value.found {
        DeValue::Boolean(boolean) => Some(*boolean),
        _ => reader.mistyped(value, "true or false, without quotes"),
    }
}

/// A whole number between two bounds.
pub(super) fn number(bounds: RangeInclusive<usize>) -> impl Read<usize> {
    move |value: &Value<'_>, reader: &mut Reader<'_>| {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        let DeValue::Integer(written) = value.found else { return reader.mistyped(value, &expected) };
        let number = usize::from_str_radix(written.as_str(), written.radix()).ok();
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            reader.fault(&value.at, format!("{} is {written}; expected {expected}", value.key), None);
        }
        number
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy + Into<&'static str>>(all: &[T]) -> impl Read<T> {
    |value: &Value<'_>, reader: &mut Reader<'_>| {
        let DeValue::String(written) = value.found else { return reader.mistyped(value, "a string") };
        let chosen = all.iter().copied().find(|choice| written == (*choice).into());
        if chosen.is_none() {
            let words: Vec<&str> = all.iter().map(|choice| (*choice).into()).collect();
            let hint = closest(written, &words).map(|meant| format!("did you mean {meant:?}?"));
            let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            let message = format!("{} is {written:?}; expected one of {}", value.key, quoted.join(", "));
            reader.fault(&value.at, message, hint);
        }
        chosen
    }
}

/// A string that means something.
pub(super) fn text<T>(check: impl Fn(&str) -> Checked<T>) -> impl Read<T> {
    move |value: &Value<'_>, reader: &mut Reader<'_>| {
        let DeValue::String(written) = value.found else { return reader.mistyped(value, "a string") };
        match check(written) {
            Ok(checked) => Some(checked),
            Err(Wrong { what, hint }) => {
                reader.fault(&value.at, format!("{} {what}", value.quoted()), hint);
                None
            }
        }
    }
}

/// An address or range whose family is not switched off.
pub(super) fn of_family<T: Copy + Into<IpNet>>(read: impl Read<T>) -> impl Read<T> {
    move |value: &Value<'_>, reader: &mut Reader<'_>| {
        let checked = read(value, reader)?;
        let off = matches!(checked.into(), IpNet::V6(_)) && !reader.ipv6;
        if off {
            let message = format!("{} is of IPv6, which shim.ipv6 = false switches off", value.quoted());
            reader.fault(&value.at, message, None);
        }
        (!off).then_some(checked)
    }
}

/// A string that no other table has at that key.
pub(super) fn unique<T: Debug>(read: impl Read<T>) -> impl Read<T> {
    move |value: &Value<'_>, reader: &mut Reader<'_>| {
        let checked = read(value, reader)?;
        reader.once(value.key.clone(), value, checked)
    }
}

/// A list of strings, each of which comes once.
pub(super) fn list<T: Debug>(read: impl Read<T>) -> impl Read<Vec<T>> {
    move |value: &Value<'_>, reader: &mut Reader<'_>| {
        let items = match value.found {
            DeValue::Array(items) => items,
            DeValue::String(one) => {
                let message = format!("{} is a string; expected a list of strings", value.key);
                reader.fault(&value.at, message, Some(format!("write [{one:?}]")));
                return None;
            }
            _ => return reader.mistyped(value, "a list of strings"),
        };
        let scope = format!("{} of {:?}", value.key, value.at);
        let mut list = Vec::new();
        for item in items {
            let item = value.item(item);
            let checked = read(&item, reader);
            list.extend(checked.and_then(|checked| reader.once(scope.clone(), &item, checked)));
        }
        Some(list)
    }
}

/// A value without a default of its own: if it is absent, the general value holds.
pub(super) fn optional<T>(read: impl Read<T>) -> impl Read<Option<T>> {
    move |value: &Value<'_>, reader: &mut Reader<'_>| read(value, reader).map(Some)
}
