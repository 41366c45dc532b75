//! The holder of each address. One address is settled without a look at others.

mod claimants;
mod claims;
mod findings;
mod held;
pub(super) mod leftovers;
mod settle;
pub mod tenure;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

pub use self::claimants::Claimants;
pub(super) use self::claimants::claimants;
pub use self::claims::Claims;
pub use self::held::{Held, Holder};
pub use self::leftovers::Leftovers;
use self::settle::adopt;
pub(super) use self::settle::settle;
use self::tenure::Tenure;
use super::facts::Facts;
use crate::model::NicKey;

/// Decides who holds each address, given all claims. `is_known`: a server has that NIC.
pub(super) fn settle_all(
    facts: &Facts<'_>,
    held: &mut Held,
    tenure: &mut Tenure,
    is_known: impl Fn(&NicKey) -> bool,
    now: Instant,
) -> Leftovers {
    if tenure.is_new() {
        adopt(facts.snapshot, tenure);
    }
    tenure.forget_names(is_known);
    let addresses: BTreeSet<IpAddr> = held.claims.addresses().chain(tenure.addresses()).collect();
    for address in addresses {
        settle(facts, held, tenure, address, now);
    }
    tenure.begin();
    tenure.tidy(now);
    Leftovers::find_all(facts, held, tenure)
}
