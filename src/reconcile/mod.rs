//! Decides what should exist. Pure: no I/O, no clock, no randomness; ordered maps only, so that the order
//! of input never matters.
//!
//! ```text
//! config, inventory, snapshot ── join ──▶ which child is which NIC
//!                             ── ground ─▶ what the host's own network allows
//!                             ── admit ──▶ a verdict on every address, with its reason
//!                             ── desire ─▶ Desired: shims, neighbours, routes, rules
//! desired, snapshot           ── diff ───▶ Plan
//! now, plan                   ── schedule ▶ the ops that are due
//! desired, one changed child  ── express ──▶ the part of the next plan that is beyond doubt, ahead of it
//! ```

pub mod admit;
mod claims;
pub mod desire;
pub mod desired;
pub mod diff;
pub mod express;
pub mod ground;
pub mod join;
mod place;
pub mod schedule;
mod select;
mod shim;

pub use desire::desire;
pub use desired::{Decision, Desired};
pub use diff::diff;
pub use express::express;
pub use schedule::Schedule;
