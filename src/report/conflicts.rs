//! The claims to addresses that belong to somebody else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::material::Material;
use crate::model::Code;
use crate::model::snapshot::ChildKey;
use crate::reconcile::Decision;
use crate::reconcile::admit::Verdict;

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The child of the NIC that claims it.
    pub child: ChildKey,
    /// The address.
    pub address: IpAddr,
    /// Why it is refused: one of [`Conflict::CODES`].
    pub code: Code,
}

impl Conflict {
    /// The refusals because an address is somebody else's: a gateway's, the host's, a cluster member's,
    /// another guest's, a LAN machine's.
    pub const CODES: [Code; 5] =
        [Code::NextHop, Code::HostAddress, Code::ClusterMember, Code::Held, Code::HeldOnLan];
}

/// The claims that stand.
pub fn conflicts(material: &Material<'_>) -> BTreeSet<Conflict> {
    let mut conflicts = BTreeSet::new();
    for decision in material.desired.decisions.values() {
        let Decision::Served { child, .. } = decision else { continue };
        for (address, verdict) in material.desired.held.verdicts(child) {
            if let Verdict::Refused(refusal) = &*verdict
                && Conflict::CODES.contains(&refusal.code)
            {
                conflicts.insert(Conflict { child: *child, address, code: refusal.code });
            }
        }
    }
    conflicts
}
