//! How much a guest needs somebody.

use crate::model::Code;
use crate::model::status::{AddressState, GuestStatus, NicState, NicStatus};

/// How much a guest needs somebody. The last needs somebody most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    /// It does not run, is left out, or cannot be served.
    Apart,
    /// It is reached wherever it should be.
    Well,
    /// It is not reached at each of its addresses.
    Warning,
    /// It is not reached.
    Bad,
}

impl Concern {
    /// Of a guest: that of the NIC that needs somebody most.
    pub(super) fn of(guest: &GuestStatus) -> Concern {
        guest.nics.iter().map(Concern::of_nic).max().unwrap_or(Concern::Apart)
    }

    fn of_nic(nic: &NicStatus) -> Concern {
        let is_well = |state, reason: &Option<String>| {
            state == AddressState::Routed || Code::is_note(reason.as_deref())
        };
        let all_well = nic.addresses.iter().all(|address| is_well(address.state, &address.reason));
        match nic.state {
            NicState::Stopped | NicState::Unselected => Concern::Apart,
            NicState::Unsupported if Code::is_note(nic.reason.as_deref()) => Concern::Apart,
            NicState::Reachable | NicState::Refused if all_well => Concern::Well,
            NicState::Reachable | NicState::Waiting | NicState::Unsupported => Concern::Warning,
            NicState::Failed | NicState::Refused => Concern::Bad,
        }
    }
}
