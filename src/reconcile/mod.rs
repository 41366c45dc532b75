//! Decides what should exist. Pure: no I/O, no clock, no randomness; ordered maps only, so that the order
//! of input never matters.
//!
//! ```text
//! config, inventory, snapshot ── join ──▶ which child is which NIC, and which are its siblings
//!                             ── facts ─▶ what the host's own network allows
//!                             ── claims ─▶ a verdict on every address, with its reason, and who holds it
//!                             ── desire ─▶ Desired: shims, neighbours, routes, rules
//! desired, snapshot           ── diff ───▶ Plan
//! now, plan                   ── schedule ▶ the ops that are due
//! ```
//!
//! Where only some addresses of guests have changed, `amend` brings [`Desired`] up to date and [`diff_at`] makes
//! the part of the plan that is about them: the same as a full decision, at a cost that does not grow with the
//! number of guests. [`decide()`] does whichever of the two is called for.

pub mod admit;
mod amend;
mod answers;
pub mod claims;
mod decide;
pub mod desire;
pub mod desired;
pub mod diff;
pub mod facts;
mod filter;
mod holders;
pub mod join;
pub mod leftovers;
mod overhear;
mod place;
pub mod probe;
mod routing;
pub mod schedule;
mod select;
mod setting;
mod shim;
mod siblings;
mod strange;
pub mod suspects;
mod table;
pub mod tenure;

pub use amend::amend;
pub use decide::decide;
pub use desire::desire;
pub use desired::{Decision, Desired};
pub use diff::{diff, diff_at};
pub use probe::Probes;
pub use schedule::Schedule;
pub use strange::servers_to_ask;
pub use table::table_full;
