//! Neighbour tables as a whole, and the groups that questions over IPv6 go to.

use std::net::{IpAddr, Ipv6Addr};

use super::Family;

/// The first 104 bits of a solicited-node group (RFC 4291, 2.7.1).
const SOLICITED_NODE: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];

/// The multicast group that is asked who has an address. `None` for IPv4, where everybody is asked.
pub fn solicited_node(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let mut group = address.octets();
    group[..13].copy_from_slice(&SOLICITED_NODE);
    Some(Ipv6Addr::from(group).into())
}

/// Whether an address is such a group.
pub fn is_solicited_node(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(group) if group.octets()[..13] == SOLICITED_NODE)
}

/// A neighbour table of the kernel. All network namespaces share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourTable {
    /// The family of its neighbours.
    pub family: Family,
    /// Number of entries, in all namespaces.
    pub entries: u32,
    /// Number of entries in the host's namespace that do not count towards the limit: permanent ones, and
    /// those that their makers delete themselves.
    pub exempt: u32,
    /// `gc_thresh3`: the number of entries at which the kernel makes no more.
    pub limit: u32,
    /// Number of entries that the kernel has refused to make since it started.
    pub refusals: u64,
    /// It has refused some since the last reading.
    pub refuses: bool,
}

impl NeighbourTable {
    /// Part of the limit from which on a table counts as nearly full, in percent.
    const NEARLY: u32 = 80;

    /// Maximum number of entries that count towards the limit, because the exempt ones of other namespaces
    /// cannot be told apart.
    pub fn counted(&self) -> u32 {
        self.entries.saturating_sub(self.exempt)
    }

    /// Whether it is full or nearly so, as far as can be seen.
    pub fn is_nearly_full(&self) -> bool {
        self.refuses || is_near(self.counted(), self.limit)
    }
}

fn is_near(count: u32, limit: u32) -> bool {
    u64::from(count) * 100 > u64::from(limit) * u64::from(NeighbourTable::NEARLY)
}
