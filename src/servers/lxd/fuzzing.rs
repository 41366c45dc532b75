//! The readers of recorded answers and events, without a server: for `tests/fuzz`.

use std::collections::BTreeMap;

use super::envelope;
use super::events::{Worth, weigh};
use super::guest::{self, ManagedNetwork, NetworkKey};
use super::listing::{Arriving, ITEM, Listing};
use super::reading::Info;
use crate::model::inventory::{Guest, NicParent, ServerKind};

/// The macvlan guests in an answer to `GET /1.0/instances?recursion=1`. Every network that they name counts
/// as macvlan.
///
/// # Errors
/// If the answer as a whole cannot be read.
pub fn guests(text: &[u8]) -> Result<Vec<Guest>, String> {
    let kept = (Arriving::default(), ITEM);
    let arrived = envelope::decode_list(envelope::recorded(&[text]), kept, Arriving::take_in);
    let Listing { instances, .. } = arrived.map_err(|error| error.to_string())?.end();
    let networks: BTreeMap<NetworkKey, ManagedNetwork> = (instances.iter().flat_map(guest::networks))
        .map(|key| (key, ManagedNetwork::Macvlan(NicParent::Unknown("it was recorded".to_owned()))))
        .collect();
    Ok(instances.iter().filter_map(|instance| guest::guest(instance, &networks)).collect())
}

/// Whether an event makes us read the guests of a cluster member again.
pub fn is_news(event: &[u8]) -> bool {
    let info = Info {
        kind: ServerKind::Lxd,
        version: "5.0.2".to_owned(),
        name: "m1".to_owned(),
        clustered: true,
        pid: 1,
        members: BTreeMap::new(),
    };
    weigh(event, Some(&info)) != Worth::Nothing
}
