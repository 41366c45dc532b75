//! Neighbour tables of the kernel that are so full that the host is about to lose its neighbours, guests or
//! not.

use crate::model::neighbours::NeighbourTable;
use crate::model::status::Problem;
use crate::model::{Code, Family};

/// The problem that a table is full or nearly so, if it is.
pub fn table_full(table: &NeighbourTable) -> Option<Problem> {
    if !table.is_nearly_full() {
        return None;
    }
    let family = table.family;
    let folder = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let (counted, limit) = (table.counted(), table.limit);
    let effect = match table.refuses {
        true => {
            "and the kernel has just refused new ones: machines that this host does not know yet cannot be reached"
        }
        false => "and beyond the limit the kernel refuses new ones",
    };
    // Twice the needed number, and no less than fleets of containers commonly set.
    let wanted =
        counted.max(limit).max(4096).checked_next_power_of_two().unwrap_or(u32::MAX / 2).saturating_mul(2);
    Some(Problem::new(
        Code::NeighbourTableFull,
        family.to_string(),
        format!(
            "the kernel's {family} neighbour table, which all network namespaces share, has {counted} of {limit} \
             entries (net.{folder}.neigh.default.gc_thresh3), {effect}"
        ),
        format!(
            "sysctl -w net.{folder}.neigh.default.gc_thresh3={wanted}; if a guest fills it, `ip -s neigh` in its \
             namespace shows it"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: u32, exempt: u32, refuses: bool) -> NeighbourTable {
        NeighbourTable { family: Family::V4, entries, exempt, limit: 1024, refusals: 0, refuses }
    }

    #[test]
    fn a_table_is_nearly_full_from_four_fifths_of_its_limit_on() {
        assert_eq!(table_full(&table(819, 0, false)), None);
        let problem = table_full(&table(820, 0, false)).unwrap();
        assert_eq!((problem.code.as_str(), problem.object.as_str()), ("neighbour-table-full", "IPv4"));
        assert!(
            problem.message.contains("820 of 1024")
                && problem.message.contains("ipv4.neigh.default.gc_thresh3")
        );
        assert!(
            problem.hint.starts_with("sysctl -w net.ipv4.neigh.default.gc_thresh3=8192"),
            "{}",
            problem.hint
        );
    }

    #[test]
    fn our_own_entries_are_no_reason_for_an_alarm() {
        assert_eq!(table_full(&table(2030, 2000, false)), None);
        assert!(table_full(&table(2900, 2000, false)).is_some());
    }

    #[test]
    fn a_refusal_by_the_kernel_is_reported_whatever_the_figures() {
        let problem = table_full(&table(2030, 2000, true)).unwrap();
        assert!(problem.message.contains("has just refused"));
    }

    #[test]
    fn the_cure_raises_the_limit() {
        let huge = NeighbourTable { limit: 1 << 20, ..table(1 << 20, 0, true) };
        assert!(table_full(&huge).unwrap().hint.contains("=2097152;"));
        let endless = NeighbourTable { limit: u32::MAX, ..table(u32::MAX, 0, true) };
        assert!(table_full(&endless).is_some());
    }
}
