//! The list of a server's instances. Only instances that may concern us are kept, and only as many as fit
//! into a fixed size. So whatever a server sends, it takes a known amount of memory.

use std::collections::BTreeMap;

use serde_json::Value;
use smol_str::SmolStr;

use super::api::{Instance, default_project};
use crate::model::text;

/// Maximum size of one entry, in bytes of JSON. Some contain a few hundred kilobytes of cloud-init, twice.
pub(super) const ITEM: usize = 4 << 20;

/// Maximum size of the instances that are kept while a list arrives, in bytes of memory. One takes about a
/// kilobyte.
const KEPT: usize = 64 << 20;

/// Maximum number of unreadable entries that are kept. Only the last of them says that there are more.
const UNREADABLE: usize = 1000;

/// The list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The instances that may be guests, by project and name. Two with the same name are both kept.
    pub(super) instances: Vec<Instance>,
    /// The entries that could not be read.
    pub(super) unreadable: Vec<Unreadable>,
    /// Number of further instances. All of them come after the kept ones in the order of project and name.
    pub(super) left_out: usize,
}

/// An entry that is not an instance as we know them, with the parts of it that could be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) project: Option<SmolStr>,
    pub(super) name: Option<SmolStr>,
    pub(super) location: Option<String>,
    pub(super) why: String,
}

/// The list while it arrives.
#[derive(Debug)]
pub(super) struct Arriving {
    kept: Kept,
    unreadable: Vec<Unreadable>,
}

impl Default for Arriving {
    fn default() -> Arriving {
        Arriving { kept: Kept::new(KEPT), unreadable: Vec::new() }
    }
}

impl Arriving {
    /// Takes in the next entry.
    pub(super) fn take_in(&mut self, item: &[u8]) {
        match read(item) {
            Ok(instance) if instance.may_be_guest() => self.kept.insert(instance),
            Ok(_) => {}
            Err(item) if self.unreadable.len() < UNREADABLE => self.unreadable.push(item),
            Err(_) => {
                self.unreadable[UNREADABLE - 1] = Unreadable::unknown("there are many more".to_owned());
            }
        }
    }

    /// Everything has arrived.
    pub(super) fn end(self) -> Listing {
        let Arriving { kept: Kept { instances, left_out, .. }, unreadable } = self;
        Listing { instances: instances.into_values().collect(), unreadable, left_out }
    }
}

/// The first instances in the order of project and name, as many as there is room for.
#[derive(Debug)]
struct Kept {
    room: usize,
    /// The number distinguishes instances of the same name.
    instances: BTreeMap<(String, String, usize), Instance>,
    left_out: usize,
    seen: usize,
}

impl Kept {
    fn new(room: usize) -> Kept {
        Kept { room, instances: BTreeMap::new(), left_out: 0, seen: 0 }
    }

    fn insert(&mut self, instance: Instance) {
        let size = Kept::size(&instance);
        let key = (instance.project.clone(), instance.name.clone(), self.seen);
        self.seen += 1;
        // Everything after an instance that was left out is left out too, even if a smaller one would fit
        // again.
        if self.left_out > 0 && self.instances.last_key_value().is_none_or(|(last, _)| *last < key) {
            self.left_out += 1;
            return;
        }
        self.instances.insert(key, instance);
        let mut lacking = size.saturating_sub(self.room);
        self.room = self.room.saturating_sub(size);
        while lacking > 0
            && let Some((_, last)) = self.instances.pop_last()
        {
            let freed = Kept::size(&last);
            self.room += freed.saturating_sub(lacking);
            lacking = lacking.saturating_sub(freed);
            self.left_out += 1;
        }
    }

    fn size(instance: &Instance) -> usize {
        instance.size() + instance.project.len() + instance.name.len()
    }
}

impl Unreadable {
    fn unknown(why: String) -> Unreadable {
        Unreadable { project: None, name: None, location: None, why }
    }
}

fn read(item: &[u8]) -> Result<Instance, Unreadable> {
    if item.len() > ITEM {
        return Err(Unreadable::unknown(format!("it takes more than {} MiB", ITEM >> 20)));
    }
    let why = match serde_json::from_slice::<Instance>(item) {
        Ok(instance) if !instance.name.is_empty() => return Ok(instance),
        Ok(_) => "it has no name".to_owned(),
        Err(error) => text::words(&error.to_string()),
    };
    let value: Value = serde_json::from_slice(item).unwrap_or_default();
    let text = |key| value.get(key).and_then(Value::as_str);
    let name = text("name").filter(|name| !name.is_empty()).map(text::name);
    let project = match value.get("project") {
        None => Some(default_project().into()),
        Some(_) => text("project").map(text::name),
    };
    Err(Unreadable { project, name, location: text("location").map(str::to_owned), why })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::servers::error::ServerError;
    use crate::servers::lxd::envelope;

    fn listed(list: &str) -> Result<Listing, ServerError> {
        let answer = format!(r#"{{"type":"sync","metadata":{list}}}"#);
        let kept = (Arriving::default(), ITEM);
        let pieces = [answer.as_bytes()];
        envelope::decode_list(envelope::recorded(&pieces), kept, Arriving::take_in).map(Arriving::end)
    }

    #[test]
    fn one_malformed_item_does_not_spoil_the_others() {
        let nic = r#""expanded_devices":{"n":{"type":"nic","nictype":"macvlan"}}"#;
        let list = format!(
            r#"[{{"name":"a","profiles":null,"new":1,{nic}}},{{"name":"b","expanded_devices":7}},{{"x":1}},5,{{"name":"c",{nic}}}]"#
        );
        let Listing { instances, unreadable, left_out } = listed(&list).unwrap();
        assert_eq!(instances.iter().map(|instance| &instance.name).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(unreadable.len(), 3);
        assert_eq!(
            (unreadable[0].name.as_deref(), unreadable[0].project.as_deref()),
            (Some("b"), Some("default"))
        );
        assert_eq!(unreadable[1].name, None);
        assert!(unreadable[2].why.contains("invalid type"), "{}", unreadable[2].why);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn null_is_an_empty_list_and_an_object_is_none() {
        assert!(listed("null").unwrap().instances.is_empty());
        assert!(listed("{}").is_err());
    }

    #[test]
    fn instances_without_a_macvlan_nic_are_not_kept() {
        let kept = |device: Value| {
            let list = json!([{"name": "c", "expanded_devices": {"n": device}}]);
            listed(&list.to_string()).unwrap().instances.len()
        };
        assert_eq!(kept(json!({"type": "nic", "nictype": "bridged", "parent": "br0"})), 0);
        assert_eq!(kept(json!({"type": "disk", "nictype": "macvlan"})), 0);
        assert_eq!(kept(json!({"type": "nic", "nictype": "macvlan"})), 1);
        assert_eq!(kept(json!({"type": "nic", "network": "lan"})), 1);
    }

    #[test]
    fn malformed_and_oversized_items_take_no_more_than_others() {
        let list = vec![json!({"name": ""}); UNREADABLE + 500];
        let listing = listed(&json!(list).to_string()).unwrap();
        assert_eq!(listing.unreadable.len(), UNREADABLE);
        assert!(listing.unreadable[UNREADABLE - 1].why.contains("many more"));
        let large = json!([{"name": "c", "config": {"user.x": "x".repeat(ITEM)}}]);
        let listing = listed(&large.to_string()).unwrap();
        assert_eq!(
            (&*listing.unreadable[0].why, &listing.unreadable[0].name),
            ("it takes more than 4 MiB", &None)
        );
        // An error quotes the text that it complains about.
        let quoting = json!([{"name": "c", "expanded_devices": "x".repeat(ITEM / 2)}]);
        let listing = listed(&quoting.to_string()).unwrap();
        assert!(listing.unreadable[0].why.len() < 2000);
    }

    /// In whatever order they arrive.
    #[test]
    fn the_first_by_name_are_kept_if_there_is_no_room_for_all() {
        let instance = |number: usize| -> Instance {
            serde_json::from_value(json!({"name": format!("c{number:03}")})).unwrap()
        };
        let size = Kept::size(&instance(0));
        for step in [1, 7, 99] {
            let mut kept = Kept::new(10 * size + size / 2);
            (0..100).for_each(|number| kept.insert(instance(number * step % 100)));
            let names: Vec<String> = kept.instances.into_keys().map(|(_, name, _)| name).collect();
            let first: Vec<String> = (0..10).map(|number| format!("c{number:03}")).collect();
            assert_eq!((names, kept.left_out), (first, 90), "step {step}");
        }
    }
}
