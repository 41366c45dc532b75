//! Parents that no frame passes. Their shims stay as they are.

use super::Demand;
use crate::model::snapshot::{Link, LinkKind};
use crate::model::status::Problem;
use crate::model::{Code, LinkIndex};

/// The problem with a parent that is down or has no carrier.
pub(super) fn problem(demand: &Demand<'_>, parent: &Link) -> Option<Problem> {
    let (code, message) = parent.outage()?;
    let name = &parent.name;
    let hint = match (code, &parent.kind) {
        (Code::ParentDown, _) => format!("ip link set {name} up"),
        (_, LinkKind::Bridge) => format!("no port of {name} has a carrier: ip link show master {name}"),
        _ => format!("look at the cable, and at the port of the switch: ip link show {name}"),
    };
    let reach = match guests(demand, parent.index) {
        0 => "no guest on it can reach this host".to_owned(),
        1 => "the guest on it and this host cannot reach each other".to_owned(),
        number => format!("the {number} guests on it and this host cannot reach each other"),
    };
    Some(Problem::new(code, name.clone(), format!("{message}, so {reach}"), hint))
}

/// Number of guests that are served on a parent. The NICs of a guest are in a row.
fn guests(demand: &Demand<'_>, parent: LinkIndex) -> usize {
    let served = demand.decisions.iter().filter(|(_, decision)| decision.parent() == Some(parent));
    let mut guests: Vec<_> = served.map(|(nic, _)| &nic.guest).collect();
    guests.dedup();
    guests.len()
}
