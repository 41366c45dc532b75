//! Which ops undo a change of somebody else.
//!
//! That cannot be asked of the kernel, which does not say who changed an object. But a change that succeeded,
//! that we have not taken back, and that has to be made again in the same form, was undone by something else:
//! by another program, or by the kernel after such a change. That is what counts as a repair. Objects that an
//! earlier process made are not known here, so the first repair of each after a restart is not counted. Nor
//! is that of a sysctl that was right by itself.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use smol_str::SmolStr;

use crate::model::Op;

/// Maximum number of objects on one link that are remembered. A thousand guests need a quarter of it.
const MOST: usize = 16_384;

/// The objects that we made and have not taken back, each with its form: hashes, because there are thousands.
/// Two that are mistaken for each other would make a number wrong by one.
#[derive(Debug, Default)]
pub(super) struct MadeObjects(BTreeMap<SmolStr, HashMap<u64, u64>>);

/// The effect of an op on the objects of a link.
enum Effect {
    Makes { object: u64, form: u64 },
    TakesBack { object: u64 },
}

impl MadeObjects {
    /// Takes in an op that has succeeded. Returns whether it is a repair.
    pub(super) fn take_in(&mut self, op: &Op) -> bool {
        let link = op.link().map(|link| link.name.clone()).unwrap_or_default();
        match op {
            Op::CreateShim { shim, mac, mtu, .. } => {
                // Everything on the former one went with it, and is part of this repair.
                let made = HashMap::from([(hash("mac"), hash(mac)), (hash("mtu"), hash(mtu))]);
                return self.0.insert(shim.name.clone(), made).is_some();
            }
            Op::DeleteShim { .. } => {
                self.0.remove(&link);
                return false;
            }
            Op::Rename { name, .. } => {
                if self.0.contains_key(name) {
                    return true;
                }
                let its = self.0.remove(&link).unwrap_or_default();
                self.0.insert(name.clone(), its);
                return false;
            }
            _ => {}
        }
        let objects = self.0.entry(link).or_default();
        match effect(op) {
            None => false,
            Some(Effect::TakesBack { object }) => {
                objects.remove(&object);
                false
            }
            Some(Effect::Makes { object, form }) => {
                if objects.len() >= MOST {
                    objects.clear();
                }
                objects.insert(object, form) == Some(form)
            }
        }
    }
}

fn effect(op: &Op) -> Option<Effect> {
    let makes = |object, form| Some(Effect::Makes { object, form });
    let takes_back = |object| Some(Effect::TakesBack { object });
    match op {
        Op::CreateShim { .. } | Op::DeleteShim { .. } | Op::Rename { .. } | Op::Ask { .. } => None,
        Op::Mark { mac, .. } => makes(hash("mark"), hash(mac)),
        Op::SetMac { mac, .. } => makes(hash("mac"), hash(mac)),
        Op::SetMtu { mtu, .. } => makes(hash("mtu"), hash(mtu)),
        Op::SetFlags { .. } => makes(hash("flags"), 0),
        Op::SetUp { .. } => makes(hash("up"), 0),
        Op::Set { setting, value, .. } => makes(hash(("sysctl", setting)), hash(value)),
        Op::AddAddress { address, .. } => makes(hash(("address", address.addr())), hash(address)),
        Op::DeleteAddress { address, .. } => takes_back(hash(("address", address.addr()))),
        Op::AddProxy { address, .. } => makes(hash(("proxy", address)), 0),
        Op::DeleteProxy { address, .. } => takes_back(hash(("proxy", address))),
        Op::SetNeighbour { address, mac, .. } => makes(hash(("neighbour", address)), hash(mac)),
        Op::DeleteNeighbour { address, .. } | Op::ReleaseNeighbour { address, .. } => {
            takes_back(hash(("neighbour", address)))
        }
        Op::SetFilter { macs, answers, .. } => makes(hash("filter"), hash((macs, answers))),
        Op::DeleteFilter { .. } => takes_back(hash("filter")),
        Op::SetRoute { destination, source, table, .. } => {
            makes(hash(("route", table, destination)), hash(source))
        }
        Op::DeleteRoute { destination, table, .. } => takes_back(hash(("route", table, destination))),
        Op::AddRule { family, priority } => makes(hash(("rule", family)), hash(priority)),
        Op::DeleteRule { family, .. } => takes_back(hash(("rule", family))),
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LinkIndex, LinkRef, Mac};

    fn shim() -> LinkRef {
        LinkRef::standing("mvs-eth0", LinkIndex(7))
    }

    fn route(source: &str) -> Op {
        let (destination, source) = ("10.0.0.9/32".parse().unwrap(), Some(source.parse().unwrap()));
        Op::SetRoute { shim: shim(), destination, source, table: 254, replace: false }
    }

    fn create() -> Op {
        let parent = LinkRef::standing("eth0", LinkIndex(2));
        Op::CreateShim {
            shim: LinkRef { name: "mvs-eth0".into(), index: None },
            parent,
            mac: mac(),
            mtu: 1500,
        }
    }

    fn mac() -> Mac {
        Mac([2, 0, 0, 0, 0, 1])
    }

    #[test]
    fn a_route_that_somebody_deleted_is_a_repair_and_one_that_we_deleted_is_none() {
        let mut made = MadeObjects::default();
        assert!(!made.take_in(&route("10.0.0.1")), "it is new");
        assert!(made.take_in(&route("10.0.0.1")), "it was there, and had to be made again");
        let delete = Op::DeleteRoute {
            link: shim(),
            destination: "10.0.0.9/32".parse().unwrap(),
            table: 254,
            metric: 0,
        };
        assert!(!made.take_in(&delete));
        assert!(!made.take_in(&route("10.0.0.1")), "we had taken it back");
    }

    #[test]
    fn another_form_is_our_own_change() {
        let mut made = MadeObjects::default();
        assert!(!made.take_in(&route("10.0.0.1")));
        assert!(!made.take_in(&route("10.0.0.2")), "the host has another address");
        assert!(made.take_in(&route("10.0.0.2")));
    }

    #[test]
    fn a_shim_that_was_deleted_is_one_repair_with_everything_on_it() {
        let mut made = MadeObjects::default();
        let all = [create(), Op::SetUp { shim: shim() }, route("10.0.0.1")];
        assert_eq!(all.iter().filter(|op| made.take_in(op)).count(), 0);
        assert_eq!(all.iter().filter(|op| made.take_in(op)).count(), 1);
        made.take_in(&Op::DeleteShim { link: shim() });
        assert_eq!(all.iter().filter(|op| made.take_in(op)).count(), 0, "we had deleted it");
        assert!(made.take_in(&Op::SetUp { shim: shim() }), "somebody has set it down");
        assert!(made.take_in(&Op::SetMtu { shim: shim(), mtu: 1500 }), "somebody has lowered it");
        assert!(!made.take_in(&Op::SetMtu { shim: shim(), mtu: 9000 }), "it follows the parent");
    }

    #[test]
    fn a_name_that_somebody_changed_is_a_repair_and_one_that_follows_the_parent_is_none() {
        let mut made = MadeObjects::default();
        made.take_in(&create());
        made.take_in(&route("10.0.0.1"));
        let rename = |from: &str, to: &str| Op::Rename {
            link: LinkRef::standing(from, LinkIndex(7)),
            name: to.into(),
        };
        assert!(made.take_in(&rename("foo", "mvs-eth0")));
        assert!(!made.take_in(&rename("mvs-eth0", "mvs-lan0")), "the parent was renamed");
        assert!(made.take_in(&rename("mvs-eth0", "mvs-lan0")));
    }

    #[test]
    fn a_guest_that_flips_through_addresses_does_not_fill_the_memory() {
        let mut made = MadeObjects::default();
        for number in 0..u32::try_from(3 * MOST).unwrap() {
            let address = std::net::Ipv4Addr::from(number).into();
            made.take_in(&Op::SetNeighbour { shim: shim(), address, mac: mac() });
        }
        assert!(made.0.values().all(|objects| objects.len() <= MOST));
    }
}
