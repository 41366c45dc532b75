//! Makes a struct a section of the file, which then describes itself.

use super::reader::{KeyValues, Reader};

/// A section of the file.
#[derive(Debug)]
pub struct Schema {
    /// Its written form: `[shim]`, or `[[parent]]` if it may come several times.
    pub header: &'static str,
    /// Its purpose.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// The section with no key set.
    pub(super) defaults: fn() -> Result<toml::Table, toml::ser::Error>,
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its effect, as Markdown of one paragraph.
    pub about: &'static str,
    /// A value in TOML, for sections that have no defaults to show.
    pub example: Option<&'static str>,
}

impl Schema {
    /// Its name, without brackets.
    pub fn name(&self) -> &'static str {
        self.header.trim_matches(['[', ']'])
    }

    /// Whether it may come several times.
    pub fn several(&self) -> bool {
        self.header.starts_with("[[")
    }

    /// The key without which a table of a section that may come several times means nothing: its first one.
    pub fn required(&self) -> Option<&'static str> {
        self.keys.first().filter(|_| self.several()).map(|key| key.name)
    }

    /// The value of a key that is not set, in TOML. `None`: the key is required, or another section's value
    /// holds.
    pub fn default(&self, key: &str) -> Option<String> {
        let defaults = (self.defaults)().ok().filter(|_| self.required() != Some(key))?;
        defaults.get(key).map(toml::Value::to_string)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name == key)
    }
}

/// A struct that is a section of the file. [`section!`] makes it one.
pub(super) trait Section: Default {
    /// The section.
    const SCHEMA: &'static Schema;

    /// The section that a table describes. Faults go to `reader`, and the default holds in their place.
    fn read(table: &KeyValues<'_>, reader: &mut Reader<'_>) -> Self;
}

/// Makes a struct a section. Each field is a key: its documentation explains the key to operators too (sample
/// file, manual page), its type holds checked values, and the function after `=` reads and checks the value.
/// A key without `default` has that of its type. A key of a section in two brackets has an `example`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Section:ident = $header:literal {
            $(
                $(#[doc = $doc:literal])+
                pub $key:ident: $type:ty = $read:expr $(, default $default:expr)? $(, example $example:literal)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $Section {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for $Section {
            fn default() -> $Section {
                $Section { $($key: section!(@default $($default)?),)+ }
            }
        }

        impl $crate::config::section::Section for $Section {
            const SCHEMA: &'static $crate::config::section::Schema = &$crate::config::section::Schema {
                header: $header,
                about: concat!($($about, "\n"),+),
                keys: &[$($crate::config::section::Key {
                    name: stringify!($key),
                    about: concat!($($doc, "\n"),+),
                    example: section!(@example $($example)?),
                },)+],
                defaults: || toml::Table::try_from($Section::default()),
            };

            fn read(
                table: &$crate::config::reader::KeyValues<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> $Section {
                let default = $Section::default();
                $Section { $(
                    $key: (table.get(stringify!($key)))
                        .and_then(|value| ($read)(value, reader))
                        .unwrap_or(default.$key),
                )+ }
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@example) => { None };
    (@example $example:literal) => { Some($example) };
}

pub(super) use section;
