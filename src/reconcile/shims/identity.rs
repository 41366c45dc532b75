//! The name and the MAC of a shim.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::model::Mac;
use crate::model::names::{shim_name, spare_name};
use crate::model::snapshot::Link;
use crate::reconcile::facts::Facts;
use crate::reconcile::facts::obstacle::foreign;

/// The name of the shim on a parent. An existing shim goes by its spare name if a foreign link has the right
/// one.
pub(super) fn name(facts: &Facts<'_>, parent: &Link) -> SmolStr {
    let right = shim_name(&parent.name);
    match facts.shim(parent.index) {
        Some(standing) if foreign(facts, &right).is_some() => spare_name(standing.index),
        _ => right,
    }
}

/// The MAC of a new shim: locally administered, the same after every reboot, and free on this host.
pub(super) fn mac(facts: &Facts<'_>, parent: &Link, refused: &BTreeSet<Mac>) -> Mac {
    let links = facts.snapshot.links.values().filter_map(|link| link.mac);
    let children = facts.snapshot.children.values().map(|child| child.mac);
    let taken: BTreeSet<Mac> = links.chain(children).chain(refused.iter().copied()).collect();
    let mut counter: u32 = 0;
    loop {
        let mac = hashed_mac(&facts.snapshot.host.machine_id, parent, counter);
        if !taken.contains(&mac) {
            return mac;
        }
        counter += 1;
    }
}

fn hashed_mac(machine_id: &str, parent: &Link, counter: u32) -> Mac {
    let mut hash = Sha256::new();
    hash.update(machine_id.as_bytes());
    hash.update([0]);
    hash.update(parent.name.as_bytes());
    hash.update([0]);
    hash.update(parent.mac.unwrap_or(Mac([0; 6])).0);
    hash.update(counter.to_be_bytes());
    let digest = hash.finalize();
    // Locally administered, unicast.
    Mac([(digest[0] & 0xfc) | 0x02, digest[1], digest[2], digest[3], digest[4], digest[5]])
}
