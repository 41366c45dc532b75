//! How full the neighbour tables are, which all namespaces share.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour_table::NeighbourTableMessage;

use crate::kernel::socket::error::RequestError;
use crate::kernel::socket::request::Requests;
use crate::kernel::socket::wire::{Attributes, MalformedError, Message, family_of, u32_at, u32_of, u64_at};
use crate::model::PerFamily;
use crate::model::neighbours::NeighbourTable;

/// Reads the tables of IPv4 and IPv6. `before` is the last result, `exempt` the number of entries in the
/// host's namespace that are exempt from the limit.
pub(in crate::kernel) fn read(
    requests: &mut Requests,
    before: &[NeighbourTable],
    exempt: PerFamily<u32>,
) -> Result<Vec<NeighbourTable>, RequestError> {
    let message = RouteNetlinkMessage::GetNeighbourTable(NeighbourTableMessage::default());
    let mut tables = requests.dump(message, |list: &mut Vec<_>, message| {
        list.extend(table(message)?);
        Ok(())
    })?;
    for table in &mut tables {
        table.exempt = exempt[table.family];
        let last = before.iter().find(|last| last.family == table.family);
        table.refuses = last.is_some_and(|last| table.refusals > last.refusals);
    }
    Ok(tables)
}

/// `None` for other tables, and for messages about the settings of one link.
fn table(message: &Message<'_>) -> Result<Option<NeighbourTable>, MalformedError> {
    const HEADER: usize = 4;
    const NDTA_THRESH3: u16 = 4;
    const NDTA_CONFIG: u16 = 5;
    const NDTA_STATS: u16 = 7;
    let Some(family) = family_of(message.payload)? else { return Ok(None) };
    let (mut entries, mut limit, mut refusals) = (None, None, 0);
    for attribute in Attributes::after(message.payload, HEADER) {
        let (kind, value) = attribute?;
        match kind {
            NDTA_THRESH3 => limit = Some(u32_of(value)?),
            // It follows two numbers of 16 bits.
            NDTA_CONFIG => entries = Some(u32_at(value, 4)?),
            // It is the eleventh number, which Linux 4.3 and older do not have.
            NDTA_STATS => refusals = u64_at(value, 80).unwrap_or(0),
            _ => {}
        }
    }
    let table =
        |(entries, limit)| NeighbourTable { family, entries, exempt: 0, limit, refusals, refuses: false };
    Ok(entries.zip(limit).map(table))
}
