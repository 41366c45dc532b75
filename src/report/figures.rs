//! Everything that the metrics show and the status does not.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use super::material::Material;
use crate::model::dropped::DroppedPackets;
use crate::model::inventory::Nics;
use crate::model::neighbours::NeighbourTable;
use crate::model::{GuestKey, Tally};

/// The figures beside the status.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The numbers that the daemon has counted. Nobody else has any.
    pub tally: Tally,
    /// The neighbour tables of the kernel.
    pub tables: Vec<NeighbourTable>,
    /// The packets that the filter of each shim has dropped.
    pub dropped: Vec<(SmolStr, DroppedPackets)>,
    /// The configuration names the servers, so all of them should be there.
    pub servers_are_named: bool,
    /// The configuration wants a series for each NIC.
    pub per_guest: bool,
    /// The guests whose NICs no server names. They have the names that the guest gives to its links, and a
    /// guest must not make series.
    pub self_named: BTreeSet<GuestKey>,
}

impl Figures {
    /// The figures of the same moment as the status, without the tally.
    pub(super) fn of(material: &Material<'_>) -> Figures {
        let Material { config, inventory, tables, dropped, .. } = material;
        let of_shim = |it: &DroppedPackets| {
            let shim = material.snapshot.links.get(&it.link)?;
            Some((shim.name.clone(), it.clone()))
        };
        let self_named = inventory.guests().filter(|(_, guest)| guest.nics == Nics::AllInItsNamespace);
        Figures {
            tally: Tally::default(),
            tables: tables.to_vec(),
            dropped: dropped.iter().filter_map(of_shim).collect(),
            servers_are_named: !config.servers.is_empty(),
            per_guest: config.metrics.per_guest,
            self_named: self_named.map(|(key, _)| key).collect(),
        }
    }
}
