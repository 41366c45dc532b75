//! The admission rules: may the host's traffic for this address go to this NIC? A guest is not trusted.
//! Claiming an address must not be enough to get the host's traffic for somebody else.
//!
//! | file | contents |
//! | --- | --- |
//! | `case` | the subject of the rules: one address of one child, and everything about it |
//! | `rules` | the table of all rules, in their order |
//! | `address` | rules about the address itself, the host's own and the configuration |
//! | `ways` | rules about the way of the host's routing |
//! | `lan` | rules about other machines on the LAN |
//! | `nic` | rules about the guest's link |
//! | `others` | rules about the part that other addresses and other NICs leave |
//! | `route_in_the_way` | foreign routes in the places of ours |
//! | `verdict` | refusals and verdicts |

mod address;
mod case;
mod lan;
mod nic;
mod others;
mod route_in_the_way;
mod rules;
#[cfg(test)]
mod tests;
mod verdict;
mod ways;

pub use self::case::{Case, Claimant, Others};
pub(super) use self::lan::is_answered;
pub(super) use self::route_in_the_way::route_in_the_way;
pub(super) use self::rules::held;
pub use self::rules::{AdmissionRule, RULES, admit, findings};
pub use self::verdict::{Refusal, Verdict};
