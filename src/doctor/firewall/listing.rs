//! The rules of nft as people read them: the listing with handles, which its JSON has as well.

use std::collections::BTreeMap;

use crate::model::text;

/// The texts of rules, by the family and table, and by the handle, which is unique in a table.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleTexts(BTreeMap<(String, String, u64), String>);

impl RuleTexts {
    /// Reads the output of `nft -a list ruleset`.
    pub(super) fn read(listing: &str) -> RuleTexts {
        let mut texts = BTreeMap::new();
        let mut table = (String::new(), String::new());
        for line in listing.lines() {
            let Some((before, handle)) = line.rsplit_once("# handle ") else { continue };
            let (before, Ok(handle)) = (before.trim(), handle.trim().parse::<u64>()) else { continue };
            let mut words = before.split(' ');
            if let (Some("table"), Some(family), Some(name)) = (words.next(), words.next(), words.next()) {
                table = (family.to_owned(), name.to_owned());
            } else if !before.ends_with('{') {
                texts.insert((table.0.clone(), table.1.clone(), handle), text::words(before));
            }
        }
        RuleTexts(texts)
    }

    /// The text of a rule.
    pub(super) fn of(&self, family: &str, table: &str, handle: u64) -> Option<&str> {
        self.0.get(&(family.to_owned(), table.to_owned(), handle)).map(String::as_str)
    }
}
